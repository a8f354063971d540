"""What ends `trioet connect` before and in a session, by signals, and what ends with it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ptys import PATIENCE_S, Person, at_terminal
from waiting import until

pytestmark = pytest.mark.e2e

BACKENDS = ("openssh", "asyncssh")


def asks(far_side: FarSide, backend: str) -> list[str]:
    """The command line of a client whose ssh asks before it gets anywhere."""
    key = far_side.sshd.user_key_path
    keygen = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-f", str(key)]
    subprocess.run(keygen, check=True, stdout=subprocess.DEVNULL)
    return far_side.connect("--ssh-backend", backend)


async def until_asked(person: Person, pid: int | None = None) -> None:
    """The client, or the process ``pid``, or its ssh, waits for an answer."""
    await person.until(b"user_key")
    await person.until(b": ")
    # ssh misses a signal that comes between its question and its waiting for the answer.
    await until(lambda: all(map(waits, children_of(pid or person.process.pid))))


def children_of(pid: int) -> list[str]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for children in lists for child in children.read_text().split()]


def waits(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "R"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_ssh_as_well_while_it_asks(
    far_side: FarSide, number: signal.Signals, backend: str
) -> None:
    async with at_terminal(asks(far_side, backend), far_side.environment) as person:
        before = person.mode()
        await until_asked(person)
        assert person.mode() != before
        os.kill(person.process.pid, number)
        assert await person.end() == (130 if number == signal.SIGINT else 255)
        assert person.mode() == before
        assert b"Traceback" not in person.seen
        told = b"trioet: ended by " + number.name.encode()
        assert (told in person.seen) == (number != signal.SIGINT)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_ctrl_c_at_a_question_of_ssh_s_says_nothing(far_side: FarSide, backend: str) -> None:
    async with at_terminal(asks(far_side, backend), far_side.environment) as person:
        before = person.mode()
        await until_asked(person)
        await person.type(b"\x03")
        assert await person.end() == 130
        assert person.mode() == before
        assert b"trioet" not in person.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_doctors_ssh_as_well_while_it_asks(
    far_side: FarSide, number: signal.Signals
) -> None:
    asks(far_side, "openssh")
    doctor = shlex.join(far_side.command("doctor"))
    # A shell that stays: the end of a session's first process would end ssh.
    command = ["sh", "-c", f"{doctor} & echo pid=$!.; wait $!; echo status=$?.; read end"]
    async with at_terminal(command, far_side.environment) as person:
        before = person.mode()
        await person.until(b"pid=")
        pid = int(await person.until(b"."))
        await until_asked(person, pid)
        assert person.mode() != before
        os.kill(pid, number)
        await person.until(b"trioet: ended by " + number.name.encode())
        await person.until(b"status=255.")
        assert person.mode() == before


async def test_what_nohup_wants_ignored_ends_no_session(far_side: FarSide) -> None:
    command = ["sh", "-c", f"trap '' HUP; exec {shlex.join(far_side.connect())}"]
    async with at_terminal(command, far_side.environment) as person:
        await person.run(b"true")
        os.kill(person.process.pid, signal.SIGHUP)
        assert await person.run(b"echo still here") == b"still here\r\n"
        os.kill(person.process.pid, signal.SIGTERM)
        await person.until(b"trioet: ended by SIGTERM")
        assert await person.end() == 255


async def test_ctrl_c_ends_who_waits_for_a_server_that_says_nothing(far_side: FarSide) -> None:
    far_side.start_router()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        command = far_side.connect("--via", "direct", "-p", port)
        async with at_terminal(command, far_side.environment) as person:
            with trio.fail_after(PATIENCE_S):
                await trio.lowlevel.wait_readable(silent)
            await person.type(b"\x03")
            await person.until(b"trioet: ended by SIGINT")
            assert await person.end() == 255


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_needs_no_stream_that_is_open(far_side: FarSide, closed: str) -> None:
    connect = shlex.join(far_side.connect("--", "echo out; echo err >&2; cat; exit 5"))
    done = subprocess.run(
        ["sh", "-c", f"exec {connect} {closed}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=far_side.environment,
        timeout=60,
        check=False,
    )
    said = b"" if ">&-" in closed.split() else b"out\n"
    complained = b"" if "2>&-" in closed else b"err\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, said, complained)
