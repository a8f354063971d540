from __future__ import annotations

import re
import socket

import pytest
import trio
from trio.testing import MockClock

from lines import Cable
from trioet.link.line import Line, LineBroken
from trioet.link.reconnect import FIRST_PATIENCE_S, FIRST_REFUSED_S, explain, patience_at_first
from trioet.link.ways import HEAD_START_S, LOYALTY_S, RACE_DEADLINE_S, NoWay, Way, Ways


class Road:
    """A way that takes as long as it is told, and fails if told."""

    def __init__(self, name: str, *, fallback: bool = False) -> None:
        self.takes_s = 0.1
        self.error: Exception | None = None
        self.asked: list[float] = []
        self.cancelled = 0
        self.lines: list[Line] = []
        self.woken = 0
        self.way = Way(name, self.dial, fallback, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    async def dial(self) -> Line:
        self.asked.append(trio.current_time())
        try:
            await trio.sleep(self.takes_s)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.lines.append(Cable().client)
        return self.lines[-1]


REFUSED = ConnectionRefusedError(111, "Connection refused")


class Map:
    """Two ports and ssh."""

    def __init__(self) -> None:
        self.roads = (Road("port 1"), Road("port 2"), Road("ssh", fallback=True))
        self.first, self.second, self.ssh = self.roads
        self.ways = Ways([road.way for road in self.roads])

    async def dial(self) -> Way:
        return self.ways.way_of(await self.ways.dial())

    async def work(self) -> Way:
        line = await self.ways.dial()
        self.ways.heard(line)
        return self.ways.way_of(line)

    def forget(self) -> float:
        for road in self.roads:
            road.asked.clear()
        return trio.current_time()


async def test_a_way_that_connects_at_once_is_the_only_one_tried(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    assert await there.dial() is there.first.way
    assert not there.second.asked
    assert not there.ssh.asked


async def test_the_next_is_tried_beside_after_a_head_start(autojump_clock: MockClock) -> None:
    there = Map()
    begun = trio.current_time()
    there.first.takes_s = 60
    there.second.takes_s = 1
    there.ssh.takes_s = 2
    assert await there.dial() is there.second.way
    assert there.second.asked == pytest.approx([begun + HEAD_START_S])
    assert there.ssh.asked == pytest.approx([begun + 2 * HEAD_START_S])
    assert (there.first.cancelled, there.ssh.cancelled) == (1, 1)


async def test_the_next_is_tried_at_once_when_one_has_failed(autojump_clock: MockClock) -> None:
    there = Map()
    begun = trio.current_time()
    there.first.error = there.second.error = REFUSED
    assert await there.dial() is there.ssh.way
    assert there.ssh.asked == pytest.approx([begun + 0.2])


async def test_of_two_that_connect_in_the_same_moment_one_is_closed(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    there.first.takes_s = HEAD_START_S + 0.1
    there.second.takes_s = 0.1
    line = await there.ways.dial()
    others = [other for road in there.roads for other in road.lines if other is not line]
    assert all(other.closed for other in others)  # type: ignore[attr-defined]


async def test_a_way_to_a_server_that_refuses_the_session_gives_place_to_all_others(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    assert there.ways.refused(await there.ways.dial())
    assert there.ways.refusing == (there.first.way,)
    there.second.error = there.ssh.error = REFUSED
    there.forget()
    with pytest.raises(NoWay) as caught:
        await there.ways.dial()
    assert [way for way, _ in caught.value.failures] == [there.second.way, there.ssh.way]
    assert not there.first.asked
    there.second.error = there.ssh.error = None
    assert there.ways.refused(await there.ways.dial())
    assert not there.ways.refused(await there.ways.dial()), "there is none left"


async def test_a_way_that_may_lead_to_another_server_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    avoided: list[Line] = []

    def avoid(line: Line) -> bool:
        avoided.append(line)
        return len(avoided) == 1

    road = Road("port 1")
    ways = Ways([Way("port 1", road.dial, avoid=avoid)])
    lines = [await ways.dial()]
    assert ways.refused(lines[0])
    lines.append(await ways.dial())
    assert not ways.refused(lines[1])
    assert avoided == lines
    assert [way.name for way in ways.refusing] == ["port 1"]


async def test_when_another_has_worked_a_way_that_was_refused_is_one_again(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    assert there.ways.refused(await there.ways.dial())
    assert await there.work() is there.second.way
    there.second.error = there.ssh.error = REFUSED
    await trio.sleep(LOYALTY_S)
    assert await there.dial() is there.first.way


async def test_the_way_that_worked_last_is_first(autojump_clock: MockClock) -> None:
    there = Map()
    there.first.error = REFUSED
    assert await there.work() is there.second.way
    there.first.error = None
    there.forget()
    assert await there.work() is there.second.way
    assert not there.first.asked


async def test_a_way_that_connects_and_leads_nowhere_is_tried_last(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    assert await there.dial() is there.first.way
    assert await there.dial() is there.second.way
    there.ssh.error = LineBroken("no")
    assert await there.dial() is there.first.way
    line = await there.ways.dial()
    there.ways.heard(line)
    there.ssh.asked.clear()
    assert await there.dial() is there.ways.way_of(line)


async def test_a_doubted_way_does_not_overtake_one_that_is_slow(autojump_clock: MockClock) -> None:
    there = Map()
    there.second.error = REFUSED
    assert await there.dial() is there.first.way
    there.ssh.takes_s = 5
    assert await there.dial() is there.ssh.way
    assert len(there.first.asked) == 1


async def test_in_a_session_that_worked_the_fallback_waits(autojump_clock: MockClock) -> None:
    there = Map()
    assert await there.work() is there.first.way
    there.first.error = there.second.error = REFUSED
    lost = there.forget()
    with pytest.raises(NoWay):
        await there.dial()
    assert not there.ssh.asked
    await trio.sleep_until(lost + LOYALTY_S)
    assert await there.dial() is there.ssh.way


async def test_the_fallback_waits_anew_when_something_was_heard(autojump_clock: MockClock) -> None:
    there = Map()
    line = await there.ways.dial()
    there.ways.heard(line)
    there.first.error = there.second.error = REFUSED
    with pytest.raises(NoWay):
        await there.dial()
    await trio.sleep(LOYALTY_S)
    there.ways.heard(line)
    with pytest.raises(NoWay):
        await there.dial()
    assert not there.ssh.asked


async def test_once_on_the_fallback_that_is_first_and_the_others_beside(
    autojump_clock: MockClock,
) -> None:
    there = Map()
    there.first.error = there.second.error = REFUSED
    assert await there.work() is there.ssh.way
    there.first.error = None
    there.ssh.takes_s = 1
    lost = there.forget()
    assert await there.dial() is there.first.way
    assert there.ssh.asked == [lost]


async def test_without_fallbacks_only_the_others_are_tried(autojump_clock: MockClock) -> None:
    there = Map()
    there.first.error = there.second.error = REFUSED
    with pytest.raises(NoWay):
        await there.ways.dial_without_fallbacks()
    assert not there.ssh.asked


async def test_what_the_ways_are_is_asked_before_each_dial(autojump_clock: MockClock) -> None:
    there = Map()
    now = [there.first.way, there.ssh.way]

    async def renew() -> list[Way]:
        await trio.sleep(1)
        return now

    ways = Ways([], renew)
    assert ways.way_of(await ways.dial()) is there.first.way
    now[0] = there.second.way
    assert ways.way_of(await ways.dial_without_fallbacks()) is there.second.way
    there.second.error = REFUSED
    with pytest.raises(NoWay) as failure:
        await ways.dial_without_fallbacks()
    assert explain(failure.value) == "connection refused"


async def test_the_reasons_of_all_are_told_in_order(autojump_clock: MockClock) -> None:
    there = Map()
    there.first.error = REFUSED
    there.second.takes_s = 60
    there.ssh.error = LineBroken("sshd is gone")
    begun = trio.current_time()
    with pytest.raises(NoWay) as failure:
        await there.dial()
    assert trio.current_time() - begun == pytest.approx(RACE_DEADLINE_S)
    assert explain(failure.value) == (
        "port 1: connection refused; port 2: connection timed out; ssh: sshd is gone"
    )


def gaierror() -> Exception:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("errors", "patience_s"),
    [
        ([REFUSED], FIRST_REFUSED_S),
        ([REFUSED, LineBroken("closed")], FIRST_PATIENCE_S),
        ([gaierror(), REFUSED], FIRST_REFUSED_S),
        ([gaierror()], 0.0),
    ],
)
def test_the_first_connection_is_tried_for_as_long_as_any_way_deserves(
    errors: list[Exception], patience_s: float
) -> None:
    async def dial() -> Line:
        raise AssertionError

    assert patience_at_first(NoWay([(Way("x", dial), e) for e in errors])) == patience_s


async def test_cancelled_it_leaves_nothing(autojump_clock: MockClock) -> None:
    there = Map()
    for road in there.roads:
        road.takes_s = 5
    with trio.move_on_after(1):
        await there.dial()
    assert [road.cancelled for road in there.roads] == [1, 1, 1]
    assert not any(road.lines for road in there.roads)


def test_who_waits_is_woken() -> None:
    there = Map()
    there.ways.wake()
    assert [road.woken for road in there.roads] == [1, 1, 1]


def test_it_shows_what_it_thinks() -> None:
    assert re.fullmatch(r"<Ways port 1 port 2 ssh worked=None>", repr(Map().ways))
