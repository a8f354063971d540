"""A peer that says anything of channels, in any order: it costs the peer's own channels.

The end under test is real, and so are the sockets that it connects to. Whatever comes, its
link stays or is closed in order, the terminal goes on, and nothing is left in the end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from descriptors import descriptors
from ends import Foreigner, foreigner, place, receive_all, two_ends
from trioet.link.resumable import Role
from trioet.session import forwards as forwards_module
from trioet.session.channel import FIRST_CREDIT
from trioet.session.forwards import EARLY
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
    Unlisten,
)
from trioet.wire.forward import Address, Endpoint, UnixPath
from trioet.wire.forward_messages import (
    ForwardData,
    ForwardResponse,
    Listen,
    Listening,
    encode_forward_data,
    encode_forward_response,
)
from trioet.wire.packet import PacketType
from trioet.wire.reach import Failure
from waiting import until

CALM = settings(max_examples=20)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


class Machine:
    """Places to lead to: one that answers, one that is stuck, one that hangs up, one of UDP."""

    def __init__(self, opened: ExitStack) -> None:
        self.stuck = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.rude = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as gone:
            nobody = Address(*gone.getsockname())
        self.places: list[Endpoint] = [
            Address(*self.stuck.getsockname()),
            Address(*self.rude.getsockname()),
            Address(*self.udp.getsockname()),
            nobody,
            UnixPath("/no/such/socket"),
        ]

    async def be_rude(self) -> None:
        """Take what comes on one port, and hang up."""
        while True:
            await trio.lowlevel.wait_readable(self.rude)
            connection, _ = self.rude.accept()
            with connection:
                connection.setblocking(False)
                connection.send(b"go away")


numbers = st.integers(0, 6) | st.just(2**64 - 1)
credit = st.sampled_from([0, 1, 100, FIRST_CREDIT, 2**64 - 1])
sizes = st.sampled_from([0, 1, 1000, 64 * 1024, FIRST_CREDIT])
places = st.integers(0, 4)
utterances = st.one_of(
    st.tuples(
        st.just("open"), numbers, st.integers(0, 1), st.none() | places, credit, st.booleans()
    ),
    st.tuples(st.just("data"), numbers, sizes),
    st.builds(ChannelOpened, numbers, credit),
    st.builds(ChannelRefused, numbers, st.sampled_from(Failure), st.just("no")),
    st.builds(ChannelCredit, numbers, credit),
    st.builds(ChannelEnd, numbers),
    st.builds(ChannelReset, numbers),
    st.builds(Listen, numbers, st.just(Address("localhost", 0))),
    st.builds(Listening, numbers, st.just(80)),
    st.builds(Unlisten, numbers),
    st.just("settle"),
    st.just("connect"),
)


@CALM
@given(
    st.sampled_from([Role.CLIENT, Role.SERVER]), st.booleans(), st.lists(utterances, max_size=60)
)
def test_any_words_in_any_order_cost_channels_and_nothing_else(
    role: Role, et: bool, words: list[Any]
) -> None:
    before = descriptors()
    trio.run(_converse, role, et, words)
    assert descriptors() == before


async def _converse(role: Role, et: bool, words: list[Any]) -> None:
    with ExitStack() as opened:
        machine = Machine(opened)
        async with foreigner(role, et=et) as peer:
            peer.end.nursery.start_soon(machine.be_rude)
            tunnel = await peer.end.tunnel(Address("there", 80))
            applications = []
            for word in words:
                match word:
                    case "settle":
                        await wait_all_tasks_blocked()
                    case "connect":
                        near = opened.enter_context(socket.socket())
                        near.setblocking(False)
                        near.connect_ex(("127.0.0.1", tunnel.port))
                        applications.append(near)
                    case "data", number, size:
                        _say(peer, ChannelData(number, bytes(size)))
                    case "open", number, listen, where, amount, datagrams:
                        leads_to = None if where is None else machine.places[where]
                        _say(peer, ChannelOpen(number, listen, leads_to, amount, datagrams))
                    case _:
                        _say(peer, word)
            peer.link.send(PacketType.TERMINAL_BUFFER, b"still here")
            await until(lambda: peer.end.typed == [b"still here"])
            assert peer.complaints == []
            peer.end.nursery.cancel_scope.cancel()


def _say(peer: Foreigner, message: ChannelMessage) -> None:
    """In ET's dialect some of it cannot be said at all."""
    with suppress(KeyError, ValueError):
        peer.say(message)


# ET's own words, at random

tokens = st.integers(-2, 5) | st.just(2**31 - 1)
et_words = st.one_of(
    st.builds(ForwardResponse, tokens, tokens),
    st.builds(ForwardResponse, tokens, error=st.just(b"no")),
    st.builds(ForwardData, st.booleans(), tokens, st.binary(min_size=1, max_size=9)),
    st.builds(ForwardData, st.booleans(), tokens, closed=st.just(True)),
    st.builds(ForwardData, st.booleans(), tokens, error=st.just(b"no")),
    st.sampled_from(["settle", "connect", "request"]),
)


@CALM
@given(st.sampled_from([Role.CLIENT, Role.SERVER]), st.lists(et_words, max_size=60))
def test_any_words_of_ets_in_any_order_cost_channels_and_nothing_else(
    role: Role, words: list[Any]
) -> None:
    before = descriptors()
    trio.run(_converse_in_et, role, words)
    assert descriptors() == before


async def _converse_in_et(role: Role, words: list[Any]) -> None:
    with ExitStack() as opened:
        machine = Machine(opened)
        async with foreigner(role, et=True) as peer:
            peer.end.nursery.start_soon(machine.be_rude)
            tunnel = await peer.end.tunnel(Address("there", 80))
            number = 2 if role is Role.CLIENT else 1
            for word in words:
                match word:
                    case "settle":
                        await wait_all_tasks_blocked()
                    case "connect":
                        near = opened.enter_context(socket.socket())
                        near.setblocking(False)
                        near.connect_ex(("127.0.0.1", tunnel.port))
                    case "request":
                        number += 2
                        where = machine.places[number // 2 % len(machine.places)]
                        peer.say(ChannelOpen(number, 0, where, 0))
                    case ForwardResponse():
                        peer.link.send(
                            PacketType.PORT_FORWARD_DESTINATION_RESPONSE,
                            encode_forward_response(word),
                        )
                    case ForwardData():
                        peer.link.send(PacketType.PORT_FORWARD_DATA, encode_forward_data(word))
            peer.link.send(PacketType.TERMINAL_BUFFER, b"still here")
            await until(lambda: peer.end.typed == [b"still here"])
            assert peer.complaints == []
            peer.end.nursery.cancel_scope.cancel()


# One at a time


@pytest.mark.parametrize("et", [False, True], ids=["trioet", "et"])
async def test_what_is_no_message_costs_the_line_and_not_the_session(et: bool) -> None:
    packet_type = PacketType.PORT_FORWARD_DATA if et else PacketType.CHANNEL
    async with foreigner(Role.SERVER, et=et) as peer:
        peer.link.send(packet_type, b"\xff\xff\xff")
        await until(lambda: peer.complaints)
        assert peer.end.link.lines == []


async def test_who_opens_and_resets_for_ever_holds_nothing() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        before = descriptors()
        for number in range(1, 1001, 2):
            peer.say(ChannelOpen(number, 0, there.where, 100))
            peer.say(ChannelReset(number))
        await until(lambda: peer.end.link.received >= 1000)
        await wait_all_tasks_blocked(0.01)
        assert repr(peer.end.forwards) == "<Forwards channels=0 reaching=0>"
        assert descriptors() <= before + 1
        peer.say(ChannelOpen(2001, 0, there.where, 100))
        await until(lambda: ChannelOpened(2001, FIRST_CREDIT - EARLY) in peer.heard)


async def test_a_peer_that_gives_no_credit_gets_no_byte() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        peer.say(ChannelOpen(1, 0, there.where, 0))
        async with await there.accept() as far:
            await far.send_all(b"data")
            await wait_all_tasks_blocked(0.01)
            assert peer.of(1) == [ChannelOpened(1, FIRST_CREDIT - EARLY)]
            peer.say(ChannelCredit(1, 2))
            await until(lambda: len(peer.of(1)) == 2)
            assert peer.of(1)[1] == ChannelData(1, b"da")


# A real ET has no credit


async def test_ets_stalled_application_is_reset_and_the_terminal_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwards_module, "MAX_UNREAD", 2_000_000)
    monkeypatch.setattr(forwards_module, "STALLED_S", 0.1)
    async with two_ends(et=True) as ends, place() as there:
        tunnel = await ends.client.tunnel(there.where)
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        async with near, await there.accept() as far:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(20):
                await near.send_all(bytes(50_000_000))
            ends.client.type(b"typed")
            await until(lambda: ends.server.typed == [b"typed"])
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(far)


async def test_ets_slow_application_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards_module, "MAX_UNREAD", 1_000_000)
    size = 12_000_000
    async with two_ends(et=True) as ends, place() as there:
        tunnel = await ends.client.tunnel(there.where)
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        async with near, await there.accept() as far, trio.open_nursery() as nursery:

            async def send() -> None:
                await near.send_all(bytes(size))
                await near.send_eof()

            nursery.start_soon(send)
            found = 0
            while part := await far.receive_some(100_000):
                found += len(part)
                await wait_all_tasks_blocked()
                held = sum(channel.unread for channel in ends.server.forwards.streams)
                assert held < 1_000_000 + 1_000_000
            assert found == size


async def test_a_socket_of_our_own_user_is_not_reached_by_a_server_that_asks_for_it(
    runtime_dir: Path,
) -> None:
    """The policy of a client that has no remote tunnel."""
    path = os.path.join(runtime_dir, "agent")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(path)
        agent.listen()
        async with foreigner(Role.CLIENT) as peer:
            peer.end.leads_to = lambda asked: None
            peer.say(ChannelOpen(2, 0, UnixPath(path), 100))
            await until(lambda: peer.heard)
            assert peer.heard == [ChannelRefused(2, Failure.NOT_ALLOWED, "nobody asked for that")]
            agent.setblocking(False)
            with pytest.raises(BlockingIOError):
                agent.accept()
