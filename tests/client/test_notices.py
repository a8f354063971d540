"""What the server tells beside the program's output, on a real terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.client.console import open_console
from trioet.client.notices import AGAIN_EVERY_S, SHOWN_S, Notices
from trioet.client.screen import Screen


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = os.openpty()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def shown(terminal: tuple[int, int]) -> bytes:
    seen = b""
    with suppress(BlockingIOError):
        while True:
            seen += os.read(terminal[0], 65536)
    return seen


@pytest.mark.parametrize("alternate", [False, True])
async def test_a_notice_is_there_for_a_moment_and_comes_again_behind_output(
    terminal: tuple[int, int], autojump_clock: MockClock, alternate: bool
) -> None:
    with open_console(terminal[1], terminal[1], raw=False) as console:
        screen = Screen(console, lambda _: None, print)
        hidden: list[float] = []

        def hide() -> None:
            hidden.append(trio.current_time())
            screen.hide_status()

        notices = Notices(screen, lambda: (24, 80), hide)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notices.run)
            if alternate:
                screen.take(b"\x1b[?1049h")
                screen.show()
                shown(terminal)
            begun = trio.current_time()
            notices.tell("share 1: somebody watches")
            await wait_all_tasks_blocked()
            assert b"somebody watches" in shown(terminal)
            screen.hide_status()
            screen.take(b"output")
            screen.show()
            assert b"output" in shown(terminal)
            await trio.sleep(1.5 * AGAIN_EVERY_S)
            assert (b"somebody watches" in shown(terminal)) != alternate
            await trio.sleep(SHOWN_S)
            assert hidden == [begun + SHOWN_S]
            shown(terminal)
            await trio.sleep(10 * SHOWN_S)
            assert shown(terminal) == b""
            nursery.cancel_scope.cancel()
