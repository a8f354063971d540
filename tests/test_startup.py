"""What starts quickly imports little: judged by sys.modules, not by a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LUXURY = {
    *("argparse", "json", "re", "typing", "dataclasses", "subprocess", "secrets"),
    *("socket", "enum", "selectors"),
}
"""What `trioet terminal` does without on its way to an invitation: half of its time."""

SLOW = {"trio", "nacl", "google", "asyncssh", "trio_asyncio", "asyncio", "cryptography", "dns"}

PROBE = """
import sys
from trioet.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
seen = sorted({name.partition(".")[0] for name in sys.modules})
import json
print("MODULES", json.dumps(seen))
"""


def modules_after(*arguments: str, stdin: bytes, env: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **env},
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout.rpartition(b"MODULES")[2]))


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--version"], ["connect", "--help"], ["terminal", "--help"]),
        *(["install", "--help"], ["uninstall", "--help"], ["install", "host:port"]),
        *(["scon", "--help"], ["scon", "serve", "--help"], ["scon", "serve", "--print-unit"]),
        *(["pipe", "--help"], ["pipe", "--nonsense"], ["proxy", "--help"], ["proxy", "--to", "x"]),
        *(["doctor", "--help"], ["doctor", "--nonsense"], ["check", "--help"], ["check"]),
    ],
)
def test_help_is_light(arguments: list[str]) -> None:
    assert not modules_after(*arguments, stdin=b"", env={}) & SLOW


def test_terminal_is_light_to_its_end(runtime_dir: Path) -> None:
    """Run whole: it starts a keeper, which refuses for want of that router."""
    line = b"XXX4567890123456/12345678901234567890123456789012_xterm\n"
    arguments = ["terminal", "--serverfifo", "/no/such/router"]
    seen = modules_after(*arguments, stdin=line, env={"TRIOET_RUNTIME_DIR": str(runtime_dir)})
    assert "_socket" in seen
    assert not seen & SLOW


def test_terminal_imports_next_to_nothing_when_there_is_a_keeper(runtime_dir: Path) -> None:
    line = b"XXX4567890123456/12345678901234567890123456789012_xterm\n"
    environment = {"TRIOET_RUNTIME_DIR": str(runtime_dir)}
    first = modules_after("terminal", stdin=line, env=environment)
    second = modules_after("terminal", stdin=line, env=environment)
    assert "subprocess" in first  # it started the keeper
    assert "_socket" in second
    assert second & (LUXURY | SLOW) == set()


def test_ssh_is_started_before_trio_is_imported(tmp_path: Path) -> None:
    """The `ssh` found on PATH tells what its parent had imported when it was started."""
    report = tmp_path / "report"
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\ngrep -c _cffi_backend /proc/$PPID/maps >>{report}\nexit 255\n")
    ssh.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", "trioet.cli.main", "connect", "nowhere"],
        env=env,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert set(report.read_text().split()) == {"0"}


def test_no_terminal_is_measured_before_ssh_is_started() -> None:
    """What shutil imports with it, to unpack archives, takes a fifth of the time till then."""
    code = "import sys; from trioet.cli.connect_options import parse; parse(['host'])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('shutil' in sys.modules)"], check=False
    )
    assert done.returncode == 0
