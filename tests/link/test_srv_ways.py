"""The ways that SRV records name: real listeners, a real name server, and time as we say."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import dns.rcode
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from name_server import NameServer, name_server
from ports import free_ports
from trioet.link.dial import dial
from trioet.link.reconnect import explain, patience_at_first
from trioet.link.srv import MOST_TARGETS, Answer, LookupFailed, Record, look_up
from trioet.link.srv_ways import LEAST_TTL_S, MOST_TTL_S, SrvWays
from trioet.link.ways import HEAD_START_S, NoWay, Way, Ways

HOST = "db1.example"


class Here:
    """A session's ways with --srv, and what the user is told."""

    def __init__(self, srv: SrvWays, port: int) -> None:
        self.srv = srv
        self.plain = Way(f"port {port}", partial(dial, "127.0.0.1", port))
        self.ways = Ways([self.plain], self._renew)
        self.complaints: list[str] = []

    async def _renew(self) -> list[Way]:
        return list(await self.srv.ways() or [self.plain])

    async def dial(self) -> str:
        """Connect, and be sure of it; return by which way."""
        line = await self.ways.dial()
        self.ways.heard(line)
        line.close()
        return self.ways.way_of(line).name


@asynccontextmanager
async def running(here: Here) -> AsyncIterator[Here]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.srv.run, here.complaints.append)
        yield here
        nursery.cancel_scope.cancel()


class Place:
    """Three servers that listen, and the name server that tells of them."""

    def __init__(self, names: NameServer, listeners: list[socket.socket]) -> None:
        self.names = names
        self.listeners = listeners
        self.ports = [listener.getsockname()[1] for listener in listeners]
        look = partial(look_up, resolver=names.resolver())
        self.here = Here(SrvWays(HOST, dial, look_up=look), self.ports[2])

    def name(self, *ports: int) -> None:
        """Have the records name these, in order."""
        self.names.records = tuple(f"{i} 0 {port} 127.0.0.1." for i, port in enumerate(ports))


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", port)) for port in free_ports(3)]
    yield made
    for listener in made:
        listener.close()


@pytest.fixture
async def place(listeners: list[socket.socket]) -> AsyncIterator[Place]:
    async with name_server() as names:
        made = Place(names, listeners)
        async with running(made.here):
            yield made


async def test_the_first_in_order_is_taken(place: Place) -> None:
    place.name(place.ports[1], place.ports[0])
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[1]}"
    assert [way.name for way in place.here.ways.all] == [
        f"127.0.0.1 port {place.ports[1]}",
        f"127.0.0.1 port {place.ports[0]}",
    ]
    assert not place.here.complaints


async def test_the_second_is_taken_when_the_first_is_down_and_from_then_on(place: Place) -> None:
    place.name(place.ports[0], place.ports[1])
    place.listeners[0].close()
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[1]}"
    with socket.create_server(("127.0.0.1", place.ports[0])):
        assert await place.here.dial() == f"127.0.0.1 port {place.ports[1]}"
    assert len(place.names.asked) == 1


async def test_all_that_are_down_are_told(place: Place) -> None:
    place.name(place.ports[0], place.ports[1])
    for listener in place.listeners:
        listener.close()
    with pytest.raises(NoWay) as failed:
        await place.here.dial()
    assert explain(failed.value) == (
        f"127.0.0.1 port {place.ports[0]}: connection refused; "
        f"127.0.0.1 port {place.ports[1]}: connection refused"
    )


@pytest.mark.parametrize(
    ("ttl_s", "believed_s"), [(300, 300), (0, LEAST_TTL_S), (86400, MOST_TTL_S)]
)
async def test_an_answer_is_believed_for_its_time_and_then_asked_for_again(
    mock_clock: MockClock, place: Place, ttl_s: int, believed_s: float
) -> None:
    place.names.ttl_s = ttl_s
    place.name(place.ports[0])
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[0]}"
    place.name(place.ports[1])
    mock_clock.jump(believed_s - 1)
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[0]}"
    assert len(place.names.asked) == 1
    mock_clock.jump(1)
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[1]}"
    assert len(place.names.asked) == 2


async def test_nobody_is_asked_while_nobody_dials(mock_clock: MockClock, place: Place) -> None:
    place.name(place.ports[0])
    await place.here.dial()
    mock_clock.jump(10 * MOST_TTL_S)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(place.names.asked) == 1


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN])
async def test_without_a_record_the_port_is_taken_and_the_user_told_once(
    mock_clock: MockClock, place: Place, rcode: dns.rcode.Rcode
) -> None:
    place.names.rcode = rcode
    for _ in range(3):
        assert await place.here.dial() == f"port {place.ports[2]}"
        mock_clock.jump(LEAST_TTL_S)
    assert len(place.names.asked) == 3
    assert place.here.complaints == [f"{HOST} has no SRV record _trioet._tcp"]


async def test_without_an_answer_the_port_is_taken_and_the_user_told(place: Place) -> None:
    place.names.rcode = dns.rcode.REFUSED
    assert await place.here.dial() == f"port {place.ports[2]}"
    assert place.here.complaints == [
        f"the SRV record of {HOST} could not be looked up: no name server gives an answer that "
        "can be used"
    ]


async def test_records_that_are_made_later_are_found(mock_clock: MockClock, place: Place) -> None:
    assert await place.here.dial() == f"port {place.ports[2]}"
    place.name(place.ports[0])
    mock_clock.jump(LEAST_TTL_S)
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[0]}"


async def test_when_a_later_lookup_fails_what_was_right_before_serves(
    mock_clock: MockClock, place: Place
) -> None:
    place.name(place.ports[0])
    await place.here.dial()
    place.names.rcode = dns.rcode.SERVFAIL
    mock_clock.jump(MOST_TTL_S)
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[0]}"
    assert not place.here.complaints


async def test_a_dot_means_that_no_server_is_there(place: Place) -> None:
    place.names.records = ("0 0 0 .",)
    with pytest.raises(NoWay) as failed:
        await place.here.dial()
    assert explain(failed.value) == f"{HOST} says by its SRV record that no server is there"
    assert patience_at_first(failed.value) == 0
    assert not place.here.complaints


async def test_a_dot_beside_others_means_nothing(place: Place) -> None:
    place.names.records = ("0 0 0 .", f"1 0 {place.ports[0]} 127.0.0.1.")
    assert await place.here.dial() == f"127.0.0.1 port {place.ports[0]}"


class Oracle:
    """Lookups that take as long as it is told."""

    def __init__(self) -> None:
        self.takes_s = 0.0
        self.answer = Answer((Record(0, 0, 1, "a"),), 300)
        self.fails = False
        self.asked = 0

    async def look_up(self, host: str) -> Answer:
        self.asked += 1
        await trio.sleep(self.takes_s)
        if self.fails:
            raise LookupFailed("no")
        return self.answer

    def ways(self) -> SrvWays:
        return SrvWays(HOST, dial, look_up=self.look_up, chance=random.Random(1))


def names(ways: tuple[Way, ...]) -> list[str]:
    return [way.name for way in ways]


async def test_the_first_answer_is_waited_for(autojump_clock: MockClock) -> None:
    oracle = Oracle()
    oracle.takes_s = 2
    async with running(Here(oracle.ways(), 1)) as here:
        assert names(await here.srv.ways()) == ["a port 1"]


async def test_a_later_answer_has_a_head_start_and_then_serves_who_comes_next(
    autojump_clock: MockClock,
) -> None:
    oracle = Oracle()
    async with running(Here(oracle.ways(), 1)) as here:
        await here.srv.ways()
        await trio.sleep(300)
        oracle.takes_s = 2
        oracle.answer = Answer((Record(0, 0, 2, "b"),), 300)
        begun = trio.current_time()
        assert names(await here.srv.ways()) == ["a port 1"]
        assert trio.current_time() == pytest.approx(begun + HEAD_START_S)
        await trio.sleep(2)
        assert names(await here.srv.ways()) == ["b port 2"]
        assert oracle.asked == 2


async def test_several_who_dial_at_once_ask_once(autojump_clock: MockClock) -> None:
    oracle = Oracle()
    oracle.takes_s = 1
    async with running(Here(oracle.ways(), 1)) as here:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(here.srv.ways)
        assert oracle.asked == 1


async def test_who_stops_waiting_takes_the_answer_from_nobody(autojump_clock: MockClock) -> None:
    oracle = Oracle()
    oracle.takes_s = 1
    async with running(Here(oracle.ways(), 1)) as here:
        with trio.move_on_after(0.5):
            await here.srv.ways()
        assert names(await here.srv.ways()) == ["a port 1"]
        assert oracle.asked == 1


async def test_after_a_failure_nobody_is_asked_for_a_while(autojump_clock: MockClock) -> None:
    oracle = Oracle()
    oracle.fails = True
    async with running(Here(oracle.ways(), 1)) as here:
        assert await here.srv.ways() == ()
        await trio.sleep(LEAST_TTL_S - 1)
        assert await here.srv.ways() == ()
        assert oracle.asked == 1
        oracle.fails = False
        await trio.sleep(1)
        assert names(await here.srv.ways()) == ["a port 1"]
    assert here.complaints == [f"the SRV record of {HOST} could not be looked up: no"]


async def test_a_way_that_is_named_again_is_the_same_way(autojump_clock: MockClock) -> None:
    oracle = Oracle()
    async with running(Here(oracle.ways(), 1)) as here:
        (first,) = await here.srv.ways()
        await trio.sleep(300)
        oracle.answer = Answer((Record(0, 0, 2, "b"), Record(1, 0, 1, "a")), 300)
        assert (await here.srv.ways())[1] is first


async def test_too_many_are_not_all_tried_and_the_same_is_tried_once(
    autojump_clock: MockClock,
) -> None:
    oracle = Oracle()
    many = [Record(i, 0, 1 + i // 2, "a") for i in range(4 * MOST_TARGETS)]
    oracle.answer = Answer(tuple(many), 300)
    async with running(Here(oracle.ways(), 1)) as here:
        ways = await here.srv.ways()
    assert names(ways) == [f"a port {i + 1}" for i in range(MOST_TARGETS)]
