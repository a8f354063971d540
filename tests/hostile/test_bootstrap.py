"""What a far side that means no good may print where an invitation is expected.

A shell script stands for ssh; the program that reads it is the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trioet
from trioet.bootstrap.invitation import MAX_LINE, MAX_NOISE, MAX_TEXT, Invitation
from trioet.bootstrap.openssh import INVITATION_DEADLINE_S, finish, read_invitation
from trioet.bootstrap.spawn import RunningSsh, spawn_ssh
from trioet.errors import PeerError, StepFailed
from waiting import until

ID: Final = "abcdefghijklmnop"
PASSKEY: Final = "0123456789ABCDEF0123456789abcdef"
MARKER: Final = f"IDPASSKEY:{ID}/{PASSKEY}".encode()
BARE: Final = Invitation(ID, PASSKEY)
SOON_S: Final = 20.0

NASTY: Final = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;title\x1b\\\x9b31m\u202egnp.exe\x00\x08\x7f\r"
"""Clipboard, screen, title, colour, direction of writing, and single characters."""


def ssh_that(script: str, *arguments: str) -> RunningSsh:
    return spawn_ssh(["/bin/sh", "-c", script, "sh", *arguments], b"line\n", "far\x1bside")


async def outcome(running: RunningSsh) -> Invitation | StepFailed | PeerError:
    """What comes of the output; whatever it is, the process has ended afterwards."""
    result: Invitation | StepFailed | PeerError
    with trio.fail_after(SOON_S):
        try:
            result = await read_invitation(running)
            await finish(running)
        except (StepFailed, PeerError) as error:
            result = error
    assert running.process.poll() is not None
    return result


async def outcome_of(output: bytes, directory: Path) -> Invitation | StepFailed | PeerError:
    path = directory / "output"
    await trio.Path(path).write_bytes(output)
    return await outcome(ssh_that('cat "$1"', str(path)))


def details(**fields: object) -> bytes:
    return b"\nTRIOET:" + json.dumps(fields).encode() + b"\n"


def failure(**fields: object) -> bytes:
    return b"\nTRIOET-ERROR:" + json.dumps(fields).encode() + b"\n"


ACCEPTED: Final[dict[str, bytes]] = {
    "noise around": b"Welcome!\r\n" + MARKER + b"\r\nBye!\r\n",
    "control characters around": NASTY.encode() + MARKER + NASTY.encode(),
    "zero bytes around": bytes(1000) + MARKER + bytes(1000),
    "bytes that are no text": b"\xff\xfe" * 500 + MARKER + b"\n\xff\xfe",
    "as much noise as may be": b"x" * MAX_NOISE + MARKER,
    "a line without end behind": MARKER + b"x" * (4 * MAX_LINE),
    "a broken marker before": MARKER[:-1] + b"!" + MARKER,
    "markers in each other": b"IDPASSKEY:" * 100 + MARKER,
    "another marker behind": MARKER + b"\n" + MARKER.replace(b"a", b"z"),
    "a failure behind": MARKER + b"\n" + failure(what="too late"),
    "a failure on no line of its own": b"echo TRIOET-MISSING " + MARKER,
    "a version that is none": MARKER + details(version=[7]),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_the_first_whole_marker_counts_whatever_is_around_it(
    tmp_path: Path, name: str
) -> None:
    assert await outcome_of(ACCEPTED[name], tmp_path) == BARE


REFUSED: Final[dict[str, bytes]] = {
    "nothing": b"",
    "noise": b"Welcome!\n" * 100,
    "control characters": NASTY.encode() * 10,
    "too much noise": b"x" * (MAX_NOISE + 1) + MARKER,
    "a short id": f"IDPASSKEY:{ID[1:]}/{PASSKEY}\n".encode(),
    "a long id": f"IDPASSKEY:{ID}x/{PASSKEY}\n".encode(),
    "a short passkey": MARKER[:-1] + b"\n",
    "no passkey": MARKER[:27] + b"\n",
    "a marker of other letters": MARKER.lower() + b"\n",
    "a zero byte in the id": MARKER.replace(b"d", b"\0") + b"\n",
    "an escape in the passkey": MARKER.replace(b"9", b"\x1b") + b"\n",
    "digits of another script": MARKER.replace(b"01", "\u0661".encode()) + b"\n",
    "a marker cut by a line end": MARKER[:20] + b"\n" + MARKER[20:],
    "a marker of wide characters": MARKER.decode().encode("utf-16"),
    "details only": details(port=2022),
    "details that are no JSON": MARKER + b"\nTRIOET:{port:1}\n",
    "details that are a list": MARKER + b"\nTRIOET:[]\n",
    "details in details": MARKER + b"\nTRIOET:" + b"[" * 4000 + b"\n",
    "details without end": MARKER + b'\nTRIOET:{"x":"' + b"x" * MAX_LINE + b'"}\n',
    "a port that is none": MARKER + details(port=0),
    "a port beyond all": MARKER + details(port=65536),
    "a port of many digits": MARKER + b'\nTRIOET:{"port":' + b"9" * 4000 + b"}\n",
    "a port without end": MARKER + b'\nTRIOET:{"port":Infinity}\n',
    "a port that is true": MARKER + details(port=True),
    "a failure": failure(step="keeper", what="no port", hint="wait"),
    "a failure in control characters": failure(step=NASTY, what=NASTY, hint=NASTY),
    "a failure of many words": failure(what="words " * 600),
    "a failure of lines": failure(what="a\n" * 300, hint="trioet: all is well\n" * 20),
    "a failure of other kinds": failure(step=1, what=["x"], hint={}),
    "a failure that is no JSON": b"\nTRIOET-ERROR:{\n",
    "a failure without end": b"\nTRIOET-ERROR:" + b"x" * (2 * MAX_NOISE),
    "a missing program": b"\nTRIOET-MISSING\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_all_else_is_refused_in_a_few_printable_words(tmp_path: Path, name: str) -> None:
    error = await outcome_of(REFUSED[name], tmp_path)
    assert isinstance(error, (StepFailed, PeerError))
    said = [error.what, error.hint, error.step] if isinstance(error, StepFailed) else [str(error)]
    assert all(text.replace("far\x1bside", "").isprintable() for text in said)
    assert all(len(text) < MAX_TEXT + 200 for text in said)
    assert PASSKEY not in str(error)


@pytest.mark.parametrize(
    "script",
    [
        "yes",
        "cat /dev/zero",
        "yes IDPASSKEY:",
        "printf TRIOET-ERROR:; cat /dev/zero",
        r"while :; do printf '\033]0;%1000d\007' 1; done",
    ],
)
async def test_output_without_end_is_ended(script: str) -> None:
    error = await outcome(ssh_that(script))
    assert isinstance(error, StepFailed)
    assert f"printed more than {MAX_NOISE} bytes and no invitation" in error.what


@pytest.mark.parametrize("behind", ["yes", "cat /dev/zero", "yes TRIOET"])
async def test_output_without_end_behind_the_marker_is_ended_too(behind: str) -> None:
    running = ssh_that(f"echo {MARKER.decode()}; exec {behind}")
    assert await outcome(running) == BARE
    assert running.process.poll() is not None


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass: pytest-trio takes it if the test asks for it."""
    return MockClock(rate=1)


async def test_an_invitation_that_dribbles_has_a_deadline(clock: MockClock, tmp_path: Path) -> None:
    dribbling = tmp_path / "dribbling"
    running = ssh_that('printf x; : > "$1"; exec sleep 1000', str(dribbling))
    errors: list[StepFailed] = []

    async def read() -> None:
        try:
            await read_invitation(running)
        except StepFailed as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await until(dribbling.exists)
        await wait_all_tasks_blocked()
        clock.jump(INVITATION_DEADLINE_S)
    assert "within 300 s" in errors[0].what
    assert running.process.poll() is not None


# The whole program: what reaches the terminal of its user

SSH: Final = """#!/bin/sh
case " $* " in
*" -G "*) printf 'hostname 127.0.0.1\\nport 22\\nuser me\\n' ;;
*) cat > /dev/null; cat "$OUTPUT"; exit "${STATUS:-0}" ;;
esac
"""

SHOWN: Final[dict[str, bytes]] = {
    "noise": b"no shell for you " + NASTY.encode() + b"\n",
    "a failure": failure(step=NASTY, what="what " + NASTY, hint="hint " + NASTY),
    "details that are no JSON": MARKER + b"\nTRIOET:" + NASTY.encode() + b"\n",
    "details in details": MARKER + b"\nTRIOET:" + b"[" * 4000 + b"\n",
    "a version": MARKER + details(version=NASTY, port=1),
    "nothing": b"",
}


@pytest.mark.parametrize("status", ["0", "1", "255"])
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_but_text_reaches_the_users_terminal(
    tmp_path: Path, name: str, status: str
) -> None:
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "output").write_bytes(SHOWN[name])
    done = subprocess.run(
        [sys.executable, "-m", "trioet.cli.main", "connect", "--via", "direct", "there"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SOON_S,
        check=False,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(trioet.__file__).parents[1]),
            "HOME": str(tmp_path),
            "OUTPUT": str(tmp_path / "output"),
            "STATUS": status,
            "LANG": "C.UTF-8",
        },
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode not in (0, -9)
    assert said.startswith("trioet: ")
    assert all(line.isprintable() for line in said.splitlines()), ascii(said)
    assert PASSKEY not in said
    assert "Traceback" not in said
