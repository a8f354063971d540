"""What Python makes of LC_CTYPE under the C locale (PEP 538) is nobody else's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farside import FarSide

PROBE = """
import os
made = os.environ.get("LC_CTYPE")
{before}
from trioet.cli.coercion import undo_coercion
undo_coercion()
assert os.getenv("LC_CTYPE") == os.environ.get("LC_CTYPE")
print(made, os.environ.get("LC_CTYPE"))
"""
WITHOUT_PROC = """
def open(*arguments):
    raise FileNotFoundError
import trioet.cli.coercion
trioet.cli.coercion.open = open
"""


def made_and_left(environment: dict[str, str], before: str = "") -> list[str]:
    """LC_CTYPE as Python has it, and what is left of that."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before)],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("environment", "left"),
    [
        ({}, "None"),
        ({"LANG": "C"}, "None"),
        ({"LC_CTYPE": "C"}, "C"),
        ({"LC_CTYPE": "no_SUCH.UTF-8"}, "no_SUCH.UTF-8"),
    ],
)
def test_it_is_what_it_was_before_python_came(environment: dict[str, str], left: str) -> None:
    assert made_and_left(environment) == ["C.UTF-8", left]


def test_a_users_own_c_utf_8_stays() -> None:
    chosen = {"LC_CTYPE": "C.UTF-8", "LANG": "C"}
    assert made_and_left(chosen) == ["C.UTF-8", "C.UTF-8"]
    assert made_and_left(chosen, WITHOUT_PROC) == ["C.UTF-8", "C.UTF-8"]


def test_where_a_process_cannot_look_at_its_first_environment_it_goes_by_pythons_utf_8_mode() -> (
    None
):
    assert made_and_left({}, WITHOUT_PROC) == ["C.UTF-8", "None"]


@pytest.mark.e2e
@pytest.mark.parametrize("asks_by", ["trioet", "etterminal"])
def test_no_session_has_it(far_side: FarSide, asks_by: str) -> None:
    """Neither from the far side, nor from the near one by SendEnv: ssh's own and ours."""
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        far_side.environment.pop(name, None)
    options = ["-o", "SendEnv=LC_* LANG", "--terminal-path", asks_by]
    done = far_side.run(*options, "--", "env")
    assert b"TRIOET_SESSION=" in done.stdout
    assert b"LC_" not in done.stdout
    far_side.environment["LC_CTYPE"] = "C"
    assert b"\nLC_CTYPE=C\n" in far_side.run(*options, "--", "env").stdout
