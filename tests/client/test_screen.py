"""How output reaches a terminal that takes it in pieces: real ptys, and who reads them."""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Iterator

import pytest
import trio

from trioet.client import console as console_module
from trioet.client.console import Console, open_console
from trioet.client.screen import Screen
from trioet.errors import LocalError

OUTPUT = bytes(range(48, 123)) * 2000
"""More than a pty holds, many times."""


class Emulator:
    """The other side of a terminal: reads it, once told to."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.seen = b""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        while len(self.seen) < len(OUTPUT):
            self.seen += os.read(self.master, 65536)

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self.master)
        self.master = -1

    def has_read_all(self) -> None:
        """Wait for that."""
        self._thread.join()

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    made = Emulator()
    yield made
    made.close()


@pytest.fixture
def console(emulator: Emulator) -> Iterator[Console]:
    with open_console(emulator.slave, emulator.slave, raw=False) as opened:
        yield opened


async def test_a_terminal_that_keeps_up_is_shown_all_at_once(
    emulator: Emulator, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "MOMENT_MS", 10_000)  # however busy this machine is
    dealt_with: list[int] = []
    screen = Screen(console, dealt_with.append, print)
    emulator.start()
    screen.take(OUTPUT)
    screen.show()
    assert not screen.behind
    assert sum(dealt_with) == len(OUTPUT)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(emulator.has_read_all)
    assert emulator.seen == OUTPUT


async def test_a_terminal_that_does_not_is_not_waited_for_again_before_it_has_caught_up(
    emulator: Emulator, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[bool] = []

    def takes_more() -> bool:
        waits.append(takes())
        return waits[-1]

    takes = console.takes_more
    monkeypatch.setattr(console, "takes_more", takes_more)
    screen = Screen(console, lambda _: None, print)
    third = len(OUTPUT) // 3
    screen.take(OUTPUT[:third])
    screen.show()
    assert screen.behind
    assert waits.pop() is False
    waits.clear()

    screen.take(OUTPUT[third : 2 * third])
    screen.show()
    emulator.start()
    with trio.fail_after(10):
        await screen.show_the_rest()
    assert not screen.behind
    assert waits == []

    monkeypatch.setattr(console_module, "MOMENT_MS", 10_000)
    screen.take(OUTPUT[2 * third :])
    screen.show()
    assert not screen.behind
    assert all(waits)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(emulator.has_read_all)
    assert emulator.seen == OUTPUT


async def test_that_a_terminal_is_gone_is_told_once_and_all_that_comes_is_dropped(
    emulator: Emulator, console: Console
) -> None:
    dealt_with: list[int] = []
    gone: list[LocalError] = []
    screen = Screen(console, dealt_with.append, gone.append)
    screen.take(OUTPUT)
    screen.show()
    assert screen.behind
    emulator.hang_up()
    with trio.fail_after(10):
        await screen.show_the_rest()
    assert [str(error) for error in gone] == ["the terminal is gone"]

    screen.take(OUTPUT)
    screen.show()
    screen.show_status("offline", 24, 80)
    screen.hide_status()
    screen.restore()
    assert len(gone) == 1
    assert not screen.behind
    assert sum(dealt_with) == 2 * len(OUTPUT)
