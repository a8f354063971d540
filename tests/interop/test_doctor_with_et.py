"""The doctor, with the real Eternal Terminal on the far side."""

from __future__ import annotations

import json
import subprocess

import pytest

from farside import FarSide
from real_et import NEEDS_ET, EtServer, trioet_to_et

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]


@pytest.mark.parametrize("runs", [True, False])
def test_its_server_answers_strangers_and_long_requests(
    far_side: FarSide, etserver: EtServer, runs: bool
) -> None:
    command = trioet_to_et(far_side, etserver, "-p", str(etserver.port))
    command[command.index("connect")] = "doctor"
    at = command.index("--via")
    del command[at : at + 2]  # it looks at every way
    if not runs:
        etserver.process.kill()
        etserver.process.wait()

    done = subprocess.run(
        [*command, "--json"],
        capture_output=True,
        env=far_side.environment,
        timeout=60,
        check=False,
    )

    steps = {item["step"]: item for item in json.loads(done.stdout)["steps"]}
    assert done.returncode == (0 if runs else 1)
    assert steps["program"]["outcome"] == "warning"
    assert steps["program"]["facts"]["path"] == str(far_side.sshd.bin / "etterminal")
    if runs:
        assert steps["port"]["facts"]["reached"] == "speaks ET"
        assert steps["mtu"]["outcome"] == "ok"
    else:
        assert steps["port"]["command"].endswith("'sudo systemctl start et'")
