"""One channel, step by step: a real socket on this side, and a session that the test plays."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from trioet.session.channel import FIRST_CREDIT, MOST_CREDIT, Channel, Traffic
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelReset,
)

NUMBER = 7


class Session:
    """What was said, and how much may be."""

    def __init__(self, *, credit: bool = True, half_close: bool = True) -> None:
        self.credit, self.half_close = credit, half_close
        self.turn = trio.Lock()
        self.heard: list[ChannelMessage] = []
        self.in_one_piece: list[ChannelMessage] = []
        """What was told together, the last time."""
        self.chunk = 16 * 1024
        self.room = trio.Event()
        self.room.set()
        self.grown = 0
        self.most_growth = 1 << 30
        self.waiting = 0

    def say(self, message: ChannelMessage) -> None:
        self.heard.append(message)

    async def wait_room(self) -> int:
        await self.room.wait()
        return self.chunk

    def say_bulk(self, message: ChannelData) -> None:
        self.heard.append(message)

    @contextmanager
    def together(self) -> Iterator[None]:
        before = len(self.heard)
        yield
        self.in_one_piece = self.heard[before:]

    def may_grow(self, amount: int) -> bool:
        if self.grown + amount > self.most_growth:
            return False
        self.grown += amount
        return True

    def unread(self, change: int) -> None:
        self.waiting += change

    @property
    def data(self) -> bytes:
        return b"".join(bytes(each.data) for each in self.heard if isinstance(each, ChannelData))

    @property
    def granted(self) -> int:
        return sum(each.amount for each in self.heard if isinstance(each, ChannelCredit))

    @property
    def ends(self) -> list[ChannelMessage]:
        return [each for each in self.heard if isinstance(each, ChannelEnd | ChannelReset)]


class Bench:
    """A channel on a socket pair, whose other end is the application's."""

    def __init__(self, session: Session) -> None:
        self.session = session
        near, self.application = socket.socketpair()
        near.setblocking(False)
        self.application.setblocking(False)
        self.traffic = Traffic("a tunnel")
        self.channel = Channel(NUMBER, near, session, self.traffic)
        self.near = near
        self.ended = trio.Event()

    async def run(self) -> None:
        await self.channel.run()
        self.ended.set()

    def read(self) -> bytes:
        """What the application finds."""
        found = bytearray()
        try:
            while data := self.application.recv(1 << 16):
                found += data
        except BlockingIOError:
            pass
        return bytes(found)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with bench_of(Session()) as made:
        yield made


@pytest.fixture
async def et_bench() -> AsyncIterator[Bench]:
    async with bench_of(Session(credit=False, half_close=False)) as made:
        yield made


@asynccontextmanager
async def bench_of(session: Session) -> AsyncIterator[Bench]:
    made = Bench(session)
    with made.application:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            await wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()
    assert made.near.fileno() == -1
    assert session.waiting == 0, "what is over waits for nobody"
    assert session.grown == 0


async def test_no_byte_goes_without_credit(bench: Bench) -> None:
    bench.application.send(b"0123456789")
    await wait_all_tasks_blocked()
    assert bench.session.heard == []
    bench.channel.credited(4)
    await wait_all_tasks_blocked()
    assert bench.session.data == b"0123"
    bench.channel.credited(100)
    await wait_all_tasks_blocked()
    assert bench.session.data == b"0123456789"


async def test_no_byte_goes_without_room_and_none_is_read(bench: Bench) -> None:
    bench.session.room = trio.Event()
    bench.channel.credited(100)
    bench.application.send(b"abc")
    await wait_all_tasks_blocked()
    assert bench.session.heard == []
    assert bench.near.recv(3, socket.MSG_PEEK) == b"abc"
    bench.session.room.set()
    await wait_all_tasks_blocked()
    assert bench.session.data == b"abc"


async def test_no_packet_is_larger_than_its_chunk(bench: Bench) -> None:
    bench.session.chunk = 10
    bench.channel.credited(1000)
    bench.application.send(bytes(95))
    await wait_all_tasks_blocked()
    sizes = [len(said.data) for said in bench.session.heard if isinstance(said, ChannelData)]
    assert sizes == [10] * 9 + [5]


async def test_what_was_read_before_goes_first(bench: Bench) -> None:
    bench.session.chunk = 3
    bench.channel.begin_with(b"first")
    bench.channel.credited(1000)
    bench.application.send(b" then")
    await wait_all_tasks_blocked()
    assert bench.session.data == b"first then"


async def test_the_end_of_the_application_is_told_and_the_other_way_goes_on(bench: Bench) -> None:
    bench.channel.credited(1000)
    bench.application.send(b"all")
    bench.application.shutdown(socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert bench.session.heard == [ChannelData(NUMBER, b"all"), ChannelEnd(NUMBER)]
    bench.channel.arrived(b"more")
    assert bench.read() == b"more"
    assert not bench.ended.is_set()
    bench.channel.ended()
    await bench.ended.wait()
    assert bench.application.recv(1) == b""


async def test_a_few_last_words_and_the_end_go_out_together(bench: Bench) -> None:
    bench.channel.credited(1000)
    bench.application.send(b"all")
    bench.application.shutdown(socket.SHUT_WR)
    await wait_all_tasks_blocked()
    assert bench.session.in_one_piece == [ChannelData(NUMBER, b"all"), ChannelEnd(NUMBER)]


async def test_the_end_of_the_peer_comes_after_all_that_it_said(bench: Bench) -> None:
    data = bytes(range(256)) * 1000
    for start in range(0, len(data), 1000):
        bench.channel.arrived(data[start : start + 1000])
    bench.channel.ended()
    found = bytearray()
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(bench.application)
            part = bench.application.recv(5000)
            if not part:
                break
            found += part
    assert found == data
    assert not bench.ended.is_set()


async def test_credit_comes_back_as_the_application_reads(bench: Bench) -> None:
    received = 0
    given = FIRST_CREDIT
    while received < 3 * MOST_CREDIT:
        data = bytes(min(given - received, 20_000))
        assert data, "the peer has credit as long as the application reads"
        bench.channel.arrived(data)
        received += len(data)
        assert len(bench.read()) == len(data)
        given = FIRST_CREDIT + bench.session.granted
    assert given - received <= MOST_CREDIT
    assert bench.session.grown == MOST_CREDIT - FIRST_CREDIT


async def test_no_credit_comes_back_while_the_application_reads_nothing(bench: Bench) -> None:
    bench.channel.arrived(bytes(FIRST_CREDIT // 2))
    bench.channel.arrived(bytes(FIRST_CREDIT // 2))
    await wait_all_tasks_blocked()
    taken = FIRST_CREDIT - bench.channel.unread
    assert bench.session.granted <= 2 * taken
    assert bench.session.ends == []
    assert bench.session.waiting == bench.channel.unread > 0
    assert repr(bench.channel) == f"<Channel 7 credit=0 unread={bench.channel.unread}>"


async def test_a_session_that_has_no_memory_to_spare_gives_back_what_was_taken() -> None:
    session = Session()
    session.most_growth = 0
    async with bench_of(session) as bench:
        received = 0
        while received < 5 * FIRST_CREDIT:
            data = bytes(FIRST_CREDIT // 8)
            bench.channel.arrived(data)
            received += len(data)
            bench.read()
            assert FIRST_CREDIT + session.granted - received <= FIRST_CREDIT
        assert session.granted > 4 * FIRST_CREDIT - FIRST_CREDIT // 4


async def test_more_than_was_granted_ends_it(bench: Bench) -> None:
    for _ in range(40):
        bench.channel.arrived(bytes(FIRST_CREDIT // 8))
        if bench.session.ends:
            break
    assert bench.session.ends == [ChannelReset(NUMBER)]
    await bench.ended.wait()


async def test_a_reset_of_the_peer_is_one_of_the_socket(bench: Bench) -> None:
    bench.channel.was_reset()
    await bench.ended.wait()
    assert bench.session.heard == []
    assert bench.traffic.channels == 0


async def test_what_comes_before_it_runs_is_kept() -> None:
    session = Session()
    bench = Bench(session)
    bench.channel.arrived(b"early ")
    bench.channel.arrived(b"bird")
    bench.channel.ended()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        await wait_all_tasks_blocked()
        assert bench.read() == b"early bird"
        nursery.cancel_scope.cancel()
    bench.application.close()


async def test_a_channel_that_was_reset_before_it_runs_ends_at_once() -> None:
    bench = Bench(Session())
    bench.channel.arrived(b"early")
    bench.channel.was_reset()
    with trio.fail_after(1):
        await bench.run()
    assert bench.session.waiting == 0
    assert bench.near.fileno() == -1
    bench.application.close()


async def test_an_application_that_crashes_is_told_as_a_reset(bench: Bench) -> None:
    bench.channel.credited(100)
    bench.channel.arrived(b"unread")  # closing a Unix socket with that in it is a reset
    await wait_all_tasks_blocked()
    bench.application.close()
    await bench.ended.wait()
    assert bench.session.ends == [ChannelReset(NUMBER)]


# Without credit, and without half-close: a real ET


async def test_ets_peer_needs_no_credit_and_gets_none(et_bench: Bench) -> None:
    for _ in range(100):
        et_bench.channel.arrived(bytes(100_000))
    assert et_bench.session.heard == []
    assert et_bench.session.waiting == et_bench.channel.unread > 5_000_000


async def test_for_et_the_application_s_end_is_the_end(et_bench: Bench) -> None:
    et_bench.channel.credited(1 << 62)
    et_bench.application.send(b"last")
    et_bench.application.shutdown(socket.SHUT_WR)
    await et_bench.ended.wait()
    assert et_bench.session.heard == [ChannelData(NUMBER, b"last"), ChannelEnd(NUMBER)]


async def test_for_et_the_peer_s_end_is_the_end_once_all_is_read(et_bench: Bench) -> None:
    size = 3_000_000
    et_bench.channel.arrived(bytes(size))
    et_bench.channel.ended()
    await wait_all_tasks_blocked()
    assert not et_bench.ended.is_set()
    found = 0
    with trio.fail_after(10):
        while not et_bench.ended.is_set():
            found += len(et_bench.read())
            await trio.lowlevel.checkpoint()
    found += len(et_bench.read())
    assert found == size


# Any schedule

steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 70_000)),
        st.tuples(st.just("credit"), st.integers(0, 100_000)),
        st.tuples(st.just("peer"), st.integers(1, FIRST_CREDIT)),
        st.tuples(st.just("read"), st.integers(1, 300_000)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=50)
@given(steps)
def test_whatever_the_order_no_byte_is_lost_and_no_credit_made_up(
    schedule: list[tuple[str, int]],
) -> None:
    trio.run(_follow, schedule)


async def _follow(schedule: list[tuple[str, int]]) -> None:
    session = Session()
    async with bench_of(session) as bench:
        said, told, credit, read = b"", 0, 0, 0
        for what, amount in schedule:
            match what:
                case "say":
                    data = bytes(value % 251 for value in range(len(said), len(said) + amount))
                    try:
                        taken = bench.application.send(data)
                    except BlockingIOError:
                        taken = 0
                    said += data[:taken]
                case "credit":
                    bench.channel.credited(amount)
                    credit += amount
                case "peer":
                    amount = min(amount, FIRST_CREDIT + session.granted - told)
                    if amount > 0:
                        bench.channel.arrived(bytes(amount))
                        told += amount
                case "read":
                    with suppress(BlockingIOError):
                        read += len(bench.application.recv(amount))
                case "settle":
                    await wait_all_tasks_blocked()
            assert len(session.data) <= credit
            assert bench.channel.unread <= MOST_CREDIT
        bench.channel.credited(len(said))
        while read < told:
            await trio.lowlevel.wait_readable(bench.application)
            read += len(bench.application.recv(1 << 20))
        await wait_all_tasks_blocked()
        assert session.ends == []
        assert session.data == said
        assert bench.channel.unread == 0
