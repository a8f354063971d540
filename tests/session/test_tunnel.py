"""What listens: SOCKS, UDP, and what becomes of connections when it listens no longer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from descriptors import descriptors
from ends import HERE, Ends, foreigner, place, receive_all, receive_exactly, reset, two_ends
from trioet.link.resumable import Role
from trioet.session import datagrams as datagrams_module
from trioet.session import tunnels as tunnels_module
from trioet.session.channel import Traffic
from trioet.session.listeners import CannotListen
from trioet.session.tunnels import Tunnel
from trioet.wire.channels import (
    ChannelData,
    ChannelEnd,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
)
from trioet.wire.forward import Address, UnixPath
from trioet.wire.reach import Failure
from waiting import until

SIDES = ("client", "server")
HELLO = b"\x05\x01\x00"
WELCOME = b"\x05\x00"


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


def socks_connect(where: Address) -> bytes:
    host = where.host.encode()
    return HELLO + b"\x05\x01\x00\x03" + bytes([len(host)]) + host + where.port.to_bytes(2, "big")


# SOCKS


@pytest.mark.parametrize("side", SIDES)
async def test_socks_leads_where_the_application_says(side: str) -> None:
    async with two_ends() as ends, place() as there:
        assert isinstance(there.where, Address)
        tunnel = await getattr(ends, side).tunnel(None, dynamic=True)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            await near.send_all(socks_connect(there.where) + b"said at once")
            async with await there.accept() as far:
                assert await receive_exactly(far, 12) == b"said at once"
                answer = await receive_exactly(near, 12)
                assert answer[:4] == WELCOME + b"\x05\x00"
                await far.send_all(b"hello")
                assert await receive_exactly(near, 5) == b"hello"
                await near.send_eof()
                assert await receive_all(far) == b""


async def test_socks_says_why_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        where = Address(*gone.getsockname())
    async with two_ends() as ends:
        tunnel = await ends.client.tunnel(None, dynamic=True)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            await near.send_all(socks_connect(where))
            assert (await receive_all(near))[:4] == WELCOME + b"\x05\x05"


async def test_who_speaks_no_socks_is_answered_and_closed() -> None:
    async with two_ends() as ends:
        tunnel = await ends.client.tunnel(None, dynamic=True)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            await near.send_all(b"\x05\x01\x02")
            assert await receive_all(near) == b"\x05\xff"


async def test_who_says_nothing_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels_module, "SOCKS_DEADLINE_S", 0.05)
    async with two_ends() as ends:
        tunnel = await ends.client.tunnel(None, dynamic=True)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            assert await receive_all(near) == b""


@pytest.mark.parametrize("words", [b"", HELLO], ids=["at once", "in the middle"])
async def test_who_goes_before_saying_where_leaves_nothing(words: bytes) -> None:
    async with two_ends() as ends:
        tunnel = await ends.client.tunnel(None, dynamic=True)
        await wait_all_tasks_blocked()
        before = descriptors()
        for leave in (reset, trio.aclose_forcefully):
            near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
            if words:
                await near.send_all(words)
            if leave is reset:
                reset(near)
            else:
                await trio.aclose_forcefully(near)
            await until(lambda: descriptors() == before)
        assert ends.server.asked == []


async def test_who_goes_while_the_destination_is_connected_is_told_there() -> None:
    """It has been answered for, and then cannot be: the channel is over, at both ends."""
    async with foreigner(Role.CLIENT) as peer:
        tunnel = await peer.end.tunnel(None, dynamic=True)
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        await near.send_all(socks_connect(Address("example.org", 80)))
        await until(lambda: peer.heard)
        (asked,) = peer.heard
        assert isinstance(asked, ChannelOpen)
        reset(near)
        await wait_all_tasks_blocked()
        peer.say(ChannelOpened(asked.channel, 1000))
        await until(lambda: len(peer.heard) > 1)
        assert peer.heard[1:] == [ChannelReset(asked.channel)]
        await until(lambda: "channels=0" in repr(peer.end.forwards))


# What listens no longer


async def test_connections_stay_when_a_tunnel_listens_no_longer() -> None:
    async with two_ends() as ends, place() as there:
        tunnel = await ends.client.tunnel(there.where)
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        async with near, await there.accept() as far:
            tunnel.close()
            await wait_all_tasks_blocked()
            with pytest.raises(OSError, match="attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", tunnel.port)
            await near.send_all(b"still here")
            assert await receive_exactly(far, 10) == b"still here"


async def test_a_place_that_cannot_be_had_is_told() -> None:
    async with two_ends() as ends, place() as there:
        assert isinstance(there.where, Address)
        with pytest.raises(CannotListen):
            await ends.client.tunnel(there.where, there.where)
        with pytest.raises(CannotListen):
            await ends.client.tunnel(there.where, UnixPath("/no/where"), datagrams=True)


async def test_one_that_is_closed_before_it_listens_says_so() -> None:
    async with two_ends() as ends, place() as there:
        tunnel = Tunnel(Traffic("-L 1:a:1"), ends.client.forwards, destination=there.where)
        tunnel.close()
        with pytest.raises(CannotListen, match="-L 1:a:1: was closed"):
            await ends.nursery.start(tunnel.run, HERE)


async def test_traffic_is_counted() -> None:
    async with two_ends() as ends, place() as there:
        tunnel = await ends.client.tunnel(there.where)
        assert repr(tunnel) == f"<Tunnel a tunnel port={tunnel.port}>"
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        async with near, await there.accept() as far:
            await near.send_all(b"123")
            assert await receive_exactly(far, 3) == b"123"
            await far.send_all(b"12345")
            assert await receive_exactly(near, 5) == b"12345"
            assert (tunnel.traffic.sent, tunnel.traffic.received) == (3, 5)
            assert tunnel.traffic.channels == 1
        await until(lambda: tunnel.traffic.channels == 0)


# UDP


class Speaker:
    """A UDP socket of an application."""

    def __init__(self) -> None:
        self.sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def bind(self) -> Address:
        await self.sock.bind(("127.0.0.1", 0))
        return Address(*self.sock.getsockname())

    async def hear(self) -> tuple[bytes, tuple[str, int]]:
        with trio.fail_after(5):
            data, source = await self.sock.recvfrom(65535)
            return data, source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


async def udp(ends: Ends, side: str, where: Address) -> Tunnel:
    tunnel: Tunnel = await getattr(ends, side).tunnel(where, datagrams=True)
    return tunnel


@pytest.mark.parametrize("side", SIDES)
async def test_datagrams_go_both_ways_and_keep_their_bounds(side: str) -> None:
    async with two_ends() as ends:
        with Speaker() as near, Speaker() as far:
            where = await far.bind()
            tunnel = await udp(ends, side, where)
            for said in (b"one", b"", b"three" * 1000, b"x" * 60000):
                await near.sock.sendto(said, ("127.0.0.1", tunnel.port))
                heard, source = await far.hear()
                assert heard == said
                await far.sock.sendto(b"re:" + said, source)
                answer, answered_by = await near.hear()
                assert answer == b"re:" + said
                assert answered_by == ("127.0.0.1", tunnel.port)


async def test_each_application_has_answers_of_its_own() -> None:
    async with two_ends() as ends:
        with Speaker() as first, Speaker() as second, Speaker() as far:
            tunnel = await udp(ends, "client", await far.bind())
            sources = []
            for speaker, name in ((first, b"first"), (second, b"second")):
                await speaker.sock.sendto(name, ("127.0.0.1", tunnel.port))
                heard, source = await far.hear()
                assert heard == name
                sources.append(source)
            for source, name in zip(sources, (b"to first", b"to second"), strict=True):
                await far.sock.sendto(name, source)
            assert (await first.hear())[0] == b"to first"
            assert (await second.hear())[0] == b"to second"
            assert tunnel.traffic.channels == 2


async def test_no_more_flows_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels_module, "MAX_FLOWS", 1)
    async with two_ends() as ends:
        with Speaker() as first, Speaker() as second, Speaker() as far:
            tunnel = await udp(ends, "client", await far.bind())
            await first.sock.sendto(b"first", ("127.0.0.1", tunnel.port))
            assert (await far.hear())[0] == b"first"
            await second.sock.sendto(b"second", ("127.0.0.1", tunnel.port))
            await first.sock.sendto(b"first again", ("127.0.0.1", tunnel.port))
            assert (await far.hear())[0] == b"first again"


async def test_a_flow_that_is_silent_is_over_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams_module, "IDLE_S", 0.1)
    async with two_ends() as ends:
        with Speaker() as near, Speaker() as far:
            tunnel = await udp(ends, "client", await far.bind())
            for said in (b"first", b"much later"):
                await near.sock.sendto(said, ("127.0.0.1", tunnel.port))
                assert (await far.hear())[0] == said
                await until(lambda: "channels=0" in repr(ends.client.forwards))
                await until(lambda: "channels=0" in repr(ends.server.forwards))


async def test_flows_end_with_the_tunnel_whose_socket_they_answer_from() -> None:
    async with foreigner(Role.CLIENT) as peer:
        with Speaker() as near:
            tunnel = await peer.end.tunnel(Address("a", 1), datagrams=True)
            await near.sock.sendto(b"hello", ("127.0.0.1", tunnel.port))
            await until(lambda: peer.heard)
            peer.say(ChannelOpened(1, 0))
            await until(lambda: len(peer.heard) == 2)
            tunnel.close()
            peer.say(ChannelData(1, b"too late"))
            await until(lambda: ChannelEnd(1) in peer.heard)
            peer.say(ChannelData(1, b"much too late"))
            await wait_all_tasks_blocked()
        assert peer.complaints == []


async def test_a_flow_that_is_refused_may_be_tried_again() -> None:
    async with foreigner(Role.CLIENT) as peer:
        with Speaker() as near:
            tunnel = await peer.end.tunnel(Address("a", 1), datagrams=True)
            for number in (1, 3):
                await near.sock.sendto(b"hello", ("127.0.0.1", tunnel.port))
                await until(partial(peer.of, number))
                peer.say(ChannelRefused(number, Failure.NO_SUCH_HOST, "no such host"))
                await wait_all_tasks_blocked(0.01)
        assert [type(each) for each in peer.heard] == [ChannelOpen, ChannelOpen]


async def test_nobody_there_loses_datagrams_and_nothing_else() -> None:
    async with two_ends() as ends:
        with Speaker() as near, Speaker() as far:
            where = await far.bind()
            far.sock.close()
            tunnel = await udp(ends, "client", where)
            for _ in range(3):
                await near.sock.sendto(b"anybody?", ("127.0.0.1", tunnel.port))
                await wait_all_tasks_blocked(0.01)
            with Speaker() as late:
                await late.sock.bind((where.host, where.port))
                await near.sock.sendto(b"now?", ("127.0.0.1", tunnel.port))
                assert (await late.hear())[0] == b"now?"
