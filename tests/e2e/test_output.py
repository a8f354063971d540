"""Where what a command prints or complains of cannot be written: a reason, a status, no crash."""

from __future__ import annotations

import os
import subprocess

import pytest

from farside import FarSide

pytestmark = pytest.mark.e2e

FULL = os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)


def nobodys_pipe() -> int:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def run(
    far_side: FarSide, *command: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=far_side.environment,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout or b"", done.stderr or b""


def test_a_command_goes_on_when_nobody_reads_its_errors(far_side: FarSide) -> None:
    command = far_side.connect("--", "echo bad >&2; echo out; echo bad >&2; exit 5")
    for stderr in (FULL, nobodys_pipe()):
        assert run(far_side, *command, stderr=stderr)[:2] == (5, b"out\n")


def test_an_error_that_nobody_reads_has_its_status(far_side: FarSide) -> None:
    for stderr in (FULL, nobodys_pipe()):
        failing = far_side.connect("--terminal-path", "/no/such/trioet")
        assert run(far_side, *failing, stderr=stderr)[0] == 255
        assert run(far_side, *far_side.connect("--no-such-option"), stderr=stderr)[0] == 2


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_doctor_whom_nobody_hears_says_why(far_side: FarSide, more: tuple[str, ...]) -> None:
    command = far_side.command("doctor", *more)
    said = b"trioet: cannot write the output: No space left on device\n"
    assert run(far_side, *command, stdout=FULL) == (255, b"", said)
    said = b"trioet: nobody reads the output any more\n"
    assert run(far_side, *command, stdout=nobodys_pipe()) == (255, b"", said)


def test_an_uninstallation_that_nobody_reads_of_is_no_crash(far_side: FarSide) -> None:
    place = far_side.sshd.home / ".local" / "share" / "trioet"
    place.mkdir(parents=True)
    (place / "manifest").write_text("made by trioet install\n")
    said = b"trioet: cannot write the output: No space left on device\n"
    assert run(far_side, *far_side.command("uninstall"), stdout=FULL) == (255, b"", said)


def test_a_pipe_into_a_full_disk_is_no_success(far_side: FarSide) -> None:
    config = str(far_side.sshd.ssh_config_path)
    port = far_side.sshd.port
    pipe = [*far_side.connect()[:3], "pipe", "-F", config, f"{far_side.sshd.host_alias}:{port}"]
    said = b"trioet: cannot write the output: No space left on device\n"
    assert run(far_side, *pipe, stdout=FULL) == (255, b"", said)
