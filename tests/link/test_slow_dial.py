from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable, MemoryLine
from trioet.link.line import Line, LineBroken
from trioet.link.slow_dial import (
    DIAL_DEADLINE_S,
    FIRST_PAUSE_S,
    MOST_PAUSE_S,
    UNCLAIMED_S,
    SlowDial,
)


class Login:
    """A dial that takes its time."""

    def __init__(self) -> None:
        self.takes_s = 4.0
        self.error: Exception | None = None
        self.begun = 0
        self.lines: list[MemoryLine] = []
        self.slow = SlowDial(self._dial)

    async def _dial(self) -> Line:
        self.begun += 1
        await trio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.lines.append(Cable().client)
        return self.lines[-1]


@pytest.fixture
async def login(autojump_clock: MockClock) -> AsyncIterator[Login]:
    async with trio.open_nursery() as nursery:
        made = Login()
        nursery.start_soon(made.slow.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_nothing_is_dialled_that_nobody_asked_for(
    login: Login, autojump_clock: MockClock
) -> None:
    await trio.sleep(100)
    assert login.begun == 0


async def test_who_asks_later_gets_what_others_have_waited_for(
    login: Login, autojump_clock: MockClock
) -> None:
    for _ in range(3):
        with trio.move_on_after(1.5):
            line = await login.slow.dial()
    assert login.begun == 1
    assert line is login.lines[0]


async def test_a_line_waits_a_while_for_who_asks_next(
    login: Login, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1):
        await login.slow.dial()
    await trio.sleep(login.takes_s + UNCLAIMED_S / 2)
    assert await login.slow.dial() is login.lines[0]
    assert not login.lines[0].closed


async def test_a_line_that_nobody_wants_is_closed(login: Login, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1):
        await login.slow.dial()
    await trio.sleep(login.takes_s + UNCLAIMED_S)
    assert login.lines[0].closed
    assert await login.slow.dial() is login.lines[1]
    assert login.begun == 2


async def test_one_line_is_given_to_one(login: Login, autojump_clock: MockClock) -> None:
    got: list[Line] = []
    told: list[str] = []

    async def ask() -> None:
        try:
            got.append(await login.slow.dial())
        except LineBroken as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert got == login.lines
    assert told == ["another attempt has taken this connection"] * 2
    assert await login.slow.dial() is login.lines[1]


async def test_a_failure_is_told_to_all_and_not_tempted_again_for_a_while(
    login: Login, autojump_clock: MockClock
) -> None:
    login.error = LineBroken("no")
    pause = FIRST_PAUSE_S
    for begun in range(1, 8):
        with pytest.raises(LineBroken, match="no"):
            await login.slow.dial()
        with pytest.raises(LineBroken, match="no"):
            await login.slow.dial()
        assert login.begun == begun
        await trio.sleep(pause)
        pause = min(2 * pause, MOST_PAUSE_S)


async def test_a_wake_ends_the_pause(login: Login, autojump_clock: MockClock) -> None:
    login.error = LineBroken("no")
    with pytest.raises(LineBroken):
        await login.slow.dial()
    login.error = None
    login.slow.wake()
    assert await login.slow.dial() is login.lines[0]


async def test_it_takes_no_longer_than_its_deadline(
    login: Login, autojump_clock: MockClock
) -> None:
    login.takes_s = 1000
    begun = trio.current_time()
    with pytest.raises(TimeoutError):
        await login.slow.dial()
    assert trio.current_time() - begun == pytest.approx(DIAL_DEADLINE_S)


async def test_its_end_closes_what_was_not_taken(autojump_clock: MockClock) -> None:
    login = Login()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(login.slow.run)
        with trio.move_on_after(1):
            await login.slow.dial()
        await trio.sleep(login.takes_s)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert login.lines[0].closed
