"""A short siege: what strangers do to a server, a user with a session does not notice.

No times here: how long it all took is for `python -m proof.siege` to judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import trioet

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

PROJECT = Path(__file__).parents[2]
SOURCE = Path(trioet.__file__).parents[1]
PATIENCE_S = 300
SCALE = 0.005
"""50 connections of garbage, 50 idle, 50 takeovers, and so on."""


def test_a_user_under_siege_notices_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "proof.siege", "--scale", str(SCALE), "--seed", "7"]
    done = subprocess.run(
        [*command, "--json", str(figures), "--phases"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}:{PROJECT}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert figures.exists(), done.stderr
    told = json.loads(figures.read_text())

    goals = [goal for goal in told["goals"] if not goal["timing"] and goal["met"] is not None]
    assert {goal["phase"] for goal in goals} == {"quiet", "siege"}
    assert [goal for goal in goals if not goal["met"]] == [], done.stdout + done.stderr
    for phase in told["phases"]:
        assert phase["connects"]
        assert phase["echoes"]
    assert_all_took_part(told["phases"][1]["outcomes"])


def assert_all_took_part(outcomes: dict[str, int]) -> None:
    """Else the siege was none."""
    kinds = {name.partition(":")[0] for name in outcomes}
    assert kinds >= {"garbage", "idle", "takeover", "replay", "local"}
    assert "takeover: INVALID_KEY" not in outcomes
