"""Where passkeys and client ids must not be: looked for while a session runs, and after."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farside import FarSide
from invitations import tell_on, told_in
from ptys import at_terminal

pytestmark = pytest.mark.e2e


def command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield (process / name).read_bytes()
            except OSError:
                continue


async def test_keys_are_in_no_command_line_environment_log_or_file(
    far_side: FarSide, tmp_path: Path
) -> None:
    copy = tmp_path / "invitation"
    tell_on(far_side, copy)
    port = far_side.start_router()
    async with at_terminal(far_side.connect("-v", "-p", str(port)), far_side.environment) as person:
        await person.run(b"true")
        client_id, passkey = told_in(copy)
        copy.unlink()
        environment = await person.run(b"env")
        for secret in (client_id, passkey):
            assert secret not in environment
            assert not [line for line in command_lines() if secret in line]
        await person.type(b"exit\n")
        await person.end()
        shown = person.seen
    files = [path for path in far_side.runtime_dir.rglob("*") if path.is_file()]
    files += [path for path in far_side.sshd.home.rglob("*") if path.is_file()]
    assert far_side.runtime_dir / "keeper.log" in files
    for secret in (client_id, passkey):
        assert not [path for path in files if secret in path.read_bytes()]
        assert secret not in shown


async def test_a_client_that_crashes_leaves_no_core_file(far_side: FarSide) -> None:
    async with at_terminal(far_side.connect(), far_side.environment) as person:
        await person.run(b"true")
        assert not dumps_core(person.process)


def test_a_keeper_that_crashes_leaves_no_core_file(
    far_side: FarSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(far_side.runtime_dir / "keeper.sock"))
        listener.listen()
        keeper = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "trioet.cli.main",
                "keeper",
                "--listen-fd",
                str(listener.fileno()),
            ],
            env=far_side.environment,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
    assert keeper.stderr is not None
    assert b"keeper" in keeper.stderr.readline()
    assert not dumps_core(keeper)
    keeper.stderr.close()


def test_what_is_not_kept_private_does_leave_one(tmp_path: Path) -> None:
    """Else the two tests above would prove nothing on this machine."""
    sleeper = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    assert dumps_core(sleeper)


def dumps_core(process: subprocess.Popen[bytes]) -> bool:
    """Crash it, where core files are allowed; tell whether one was made."""
    limit = resource.prlimit(process.pid, resource.RLIMIT_CORE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (limit, limit))
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGABRT
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def test_everything_in_the_runtime_directory_is_private(far_side: FarSide) -> None:
    far_side.run("--", "true")
    for path in far_side.runtime_dir.rglob("*"):
        assert path.name == "router.log" or not path.lstat().st_mode & 0o077, path
