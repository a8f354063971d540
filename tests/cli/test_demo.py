"""`trioet demo`: where its stage cannot stand, and what is left of it when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from keepers import keepers_in
from ptys import Person, at_terminal
from waiting import until

DEMO = [sys.executable, "-m", "trioet.cli.main", "demo"]
CALM = [*DEMO, "--cut-every", "1000"]
PATIENCE_S = 60.0
FOOTER = b"exit ends it"


def test_a_home_that_everybody_can_write_beside_is_refused_in_words() -> None:
    unset = {"TRIOET_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": ""}
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        done = subprocess.run(
            [*DEMO, "--selftest"],
            env={**os.environ, **unset, "HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 255
    assert "no sockets in /tmp; use /run or a private directory" in done.stderr
    assert "Traceback" not in done.stderr


class Show:
    """A demo at a terminal, its keeper, and the shell in it."""

    def __init__(self, person: Person, runtime_dir: Path) -> None:
        self.person = person
        self.runtime_dir = runtime_dir
        self.before = person.mode()
        self.started: list[int] = []

    async def begin(self) -> None:
        await self.person.until(FOOTER)
        (place,) = places(self.runtime_dir)
        await self.person.type(b"echo sh''ell:$$:\n")
        await self.person.until(b"shell:")
        self.started = [*keepers_in(place), int(await self.person.until(b":"))]
        assert len(self.started) == 2

    async def processes_are_gone(self) -> None:
        await until(lambda: not any(map(alive, self.started)), PATIENCE_S)

    async def ended_well(self, status: int = 255) -> None:
        """With the terminal as it was, and nothing left behind."""
        assert await self.person.end() == status
        assert self.person.mode() == self.before
        assert b"\x1b[r" in self.person.seen, "all rows scroll again"
        assert b"Traceback" not in self.person.seen
        assert places(self.runtime_dir) == []
        assert not any(map(alive, self.started))


def places(runtime_dir: Path) -> list[Path]:
    """The directories of demos: sockets, and a private key."""
    return list(runtime_dir.glob("demo-*"))


def alive(pid: int) -> bool:
    """A zombie, which waits for whoever adopted it, is none."""
    try:
        return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    except FileNotFoundError:
        return False


@asynccontextmanager
async def shown(runtime_dir: Path) -> AsyncIterator[Show]:
    async with at_terminal(CALM, os.environ) as person:
        show = Show(person, runtime_dir)
        await show.begin()
        yield show


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_it_and_all_that_it_has_started(
    runtime_dir: Path, number: signal.Signals
) -> None:
    async with shown(runtime_dir) as show:
        show.person.process.send_signal(number)
        is_interrupted = number == signal.SIGINT
        await show.ended_well(130 if is_interrupted else 255)
        told = f"trioet: ended by {number.name}\r\n".encode()
        assert (told in show.person.seen) != is_interrupted


async def test_who_leaves_ends_it_too(runtime_dir: Path) -> None:
    async with shown(runtime_dir) as show:
        await show.person.type(b"\r~.")
        await show.ended_well()
        assert b"trioet: disconnected from this machine\r\n" in show.person.seen


async def test_a_window_that_is_closed_ends_it_and_all_that_it_has_started(
    runtime_dir: Path,
) -> None:
    async with shown(runtime_dir) as show:
        show.person.close_window()
        await until(lambda: show.person.process.poll() is not None, PATIENCE_S)
        assert places(runtime_dir) == []
        await show.processes_are_gone()


async def test_killed_it_takes_its_keeper_and_the_shell_along(runtime_dir: Path) -> None:
    async with shown(runtime_dir) as show:
        show.person.process.kill()
        await show.processes_are_gone()


async def test_a_signal_ends_the_selftest_too(runtime_dir: Path) -> None:
    process = await trio.lowlevel.open_process(
        [*DEMO, "--selftest"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stderr is not None
    keepers: list[int] = []

    def has_keeper() -> bool:
        for place in places(runtime_dir):
            keepers[:] = keepers_in(place)
        return bool(keepers)

    await until(has_keeper, PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    with trio.fail_after(PATIENCE_S):
        said = b"".join([bytes(part) async for part in process.stderr])
        assert await process.wait() == 255
    assert said == b"trioet: ended by SIGTERM\n"
    assert places(runtime_dir) == []
    assert not any(map(alive, keepers))
