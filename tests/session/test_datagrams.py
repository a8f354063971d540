"""A channel of datagrams: each whole or lost, few kept, over when nothing comes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.session.channel import Traffic
from trioet.session.datagrams import (
    IDLE_S,
    MAX_DATAGRAM,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Datagrams,
)
from trioet.wire.channels import ChannelData, ChannelEnd, ChannelMessage

NUMBER = 9


class Session:
    """What was said; and whether bulk may be."""

    credit = half_close = True

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.heard: list[ChannelMessage] = []
        self.room = trio.Event()
        self.room.set()

    def say(self, message: ChannelMessage) -> None:
        self.heard.append(message)

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def wait_room(self) -> int:
        await self.room.wait()
        return 16 * 1024

    def say_bulk(self, message: ChannelData) -> None:
        self.heard.append(message)

    def may_grow(self, amount: int) -> bool:
        raise AssertionError("datagrams take no credit")

    def unread(self, change: int) -> None:
        raise AssertionError("datagrams keep nothing for long")


class Flow:
    """A channel, and what it delivered on this side."""

    def __init__(self) -> None:
        self.session = Session()
        self.delivered: list[bytes] = []
        self.deliverable = trio.Event()
        self.deliverable.set()
        self.traffic = Traffic("a tunnel")
        self.channel = Datagrams(NUMBER, self.session, self._deliver, self.traffic)
        self.ended = trio.Event()

    async def _deliver(self, data: bytes) -> None:
        await self.deliverable.wait()
        if data == b"unwelcome":
            raise OSError
        self.delivered.append(data)

    async def run(self) -> None:
        await self.channel.run()
        self.ended.set()


@pytest.fixture
async def flow() -> AsyncIterator[Flow]:
    made = Flow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


def said(*datagrams: bytes) -> list[ChannelMessage]:
    return [ChannelData(NUMBER, data) for data in datagrams]


async def test_datagrams_go_both_ways_whole_and_in_order(flow: Flow) -> None:
    for data in (b"a", b"", b"x" * 65535):
        flow.channel.send(data)
        flow.channel.arrived(memoryview(data))
    await wait_all_tasks_blocked()
    assert flow.session.heard == said(b"a", b"", b"x" * 65535)
    assert flow.delivered == [b"a", b"", b"x" * 65535]
    assert (flow.traffic.sent, flow.traffic.received, flow.traffic.channels) == (65536, 65536, 1)
    assert repr(flow.channel) == "<Datagrams 9>"


async def test_what_comes_faster_than_the_link_takes_it_is_lost(flow: Flow) -> None:
    flow.session.room = trio.Event()
    flow.channel.send(b"first")
    await wait_all_tasks_blocked()
    for number in range(2 * MAX_WAITING):
        flow.channel.send(b"%d" % number)
    flow.session.room.set()
    await wait_all_tasks_blocked()
    assert flow.session.heard == said(b"first", *(b"%d" % n for n in range(MAX_WAITING)))


async def test_what_comes_faster_than_the_network_takes_it_is_lost(flow: Flow) -> None:
    flow.deliverable = trio.Event()
    flow.channel.arrived(b"first")
    await wait_all_tasks_blocked()
    for number in range(2 * MAX_WAITING):
        flow.channel.arrived(b"%d" % number)
    flow.deliverable.set()
    await wait_all_tasks_blocked()
    assert flow.delivered == [b"first", *(b"%d" % number for number in range(MAX_WAITING))]


async def test_large_ones_that_wait_are_few(flow: Flow) -> None:
    large = b"x" * MAX_DATAGRAM
    room = MAX_WAITING_BYTES // MAX_DATAGRAM
    flow.session.room, flow.deliverable = trio.Event(), trio.Event()
    for way in (flow.channel.send, flow.channel.arrived):
        way(b"first")
        await wait_all_tasks_blocked()
        for _ in range(2 * room):
            way(large)
        way(b"small")
    flow.session.room.set()
    flow.deliverable.set()
    await wait_all_tasks_blocked()
    assert flow.session.heard == said(b"first", *[large] * room)
    assert flow.delivered == [b"first", *[large] * room]
    flow.channel.send(large)
    await wait_all_tasks_blocked()
    assert flow.session.heard[-1] == ChannelData(NUMBER, large)


async def test_what_the_network_refuses_is_lost_and_the_next_is_not(flow: Flow) -> None:
    flow.channel.arrived(b"unwelcome")
    flow.channel.arrived(b"welcome")
    await wait_all_tasks_blocked()
    assert flow.delivered == [b"welcome"]


@pytest.mark.parametrize("name", ["send", "arrived"])
async def test_it_is_over_when_nothing_came_for_a_while(
    flow: Flow, name: str, autojump_clock: MockClock
) -> None:
    carry: Callable[[bytes], None] = getattr(flow.channel, name)
    for _ in range(3):
        await trio.sleep(IDLE_S - 1)
        carry(b"x")
    await trio.sleep(IDLE_S - 1)
    assert not flow.ended.is_set()
    await trio.sleep(2)
    assert flow.ended.is_set()
    assert flow.session.heard[-1] == ChannelEnd(NUMBER)
    assert flow.traffic.channels == 0


@pytest.mark.parametrize("name", ["ended", "was_reset"])
async def test_the_peer_s_end_is_the_end_and_not_told_back(flow: Flow, name: str) -> None:
    flow.channel.credited(100)
    getattr(flow.channel, name)()
    await flow.ended.wait()
    assert flow.session.heard == []


async def test_one_that_is_closed_here_is_told(flow: Flow) -> None:
    flow.channel.close()
    await flow.ended.wait()
    assert flow.session.heard == [ChannelEnd(NUMBER)]


async def test_what_came_before_it_runs_is_kept() -> None:
    flow = Flow()
    flow.channel.arrived(b"early")
    flow.channel.send(b"bird")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flow.run)
        await wait_all_tasks_blocked()
        assert flow.delivered == [b"early"]
        assert flow.session.heard == said(b"bird")
        nursery.cancel_scope.cancel()


# On a socket


@asynccontextmanager
async def on_a_socket() -> AsyncIterator[tuple[Session, Datagrams, socket.socket]]:
    session = Session()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.setblocking(False)
    channel = Datagrams.connected(NUMBER, session, near, Traffic("a tunnel"))
    with far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            await wait_all_tasks_blocked()
            yield session, channel, far
            nursery.cancel_scope.cancel()
    assert near.fileno() == -1


async def test_a_socket_is_heard_and_spoken_from() -> None:
    async with on_a_socket() as (session, channel, far):
        channel.arrived(b"question")
        await wait_all_tasks_blocked()
        assert far.recv(100) == b"question"
        far.send(b"answer")
        far.send(b"")
        await wait_all_tasks_blocked()
        assert session.heard == said(b"answer", b"")


async def test_a_datagram_too_large_for_the_network_is_lost_and_no_more() -> None:
    async with on_a_socket() as (_, channel, far):
        channel.arrived(bytes(10_000_000))
        channel.arrived(b"small")
        await wait_all_tasks_blocked()
        assert far.recv(100) == b"small"
