"""A connection that is passed from one proxy to another, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from descriptors import descriptors
from ports import free_ports
from trioet.errors import HandshakeError
from trioet.scon.relays import DEADLINE_S, Relay, RelayDoor
from trioet.wire.scon_relay import GREETING_SIZE, MAGIC

KEY = b"0123456789abcdef"


class Holding:
    """A proxy that holds the session: it echoes what it is given, preface first."""

    def __init__(self, key: bytes = KEY) -> None:
        self.door = RelayDoor(key, self.deliver)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.accepting = trio.CancelScope()
        self.prefaces: list[bytes] = []

    async def deliver(self, sock: socket.socket, preface: bytes) -> None:
        self.prefaces.append(preface)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            await stream.send_all(preface)
            async for data in stream:
                await stream.send_all(data)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.door.serve, self.listener, self.accepting)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
async def holding() -> AsyncIterator[Holding]:
    made = Holding()
    async with made.serving():
        yield made


def connection() -> tuple[trio.SocketStream, socket.socket]:
    """A client, and the socket at which it arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        arrived, _ = listener.accept()
    arrived.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(client)), arrived


async def test_bytes_go_both_ways_until_the_client_ends(holding: Holding) -> None:
    before = descriptors()
    client, arrived = connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Relay(holding.address, KEY).take, arrived, b"resume")
        large = bytes(range(256)) * 8192

        async def say() -> None:
            await client.send_all(large)
            await client.send_eof()

        nursery.start_soon(say)
        with trio.fail_after(30):
            heard = b"".join([bytes(data) async for data in client])
    await client.aclose()

    assert heard == b"resume" + large
    assert holding.prefaces[0].startswith(b"resume")  # what followed may have come with it
    assert descriptors() == before


async def test_when_the_client_is_gone_the_other_proxy_learns_it(holding: Holding) -> None:
    client, arrived = connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Relay(holding.address, KEY).take, arrived, b"resume")
        assert await client.receive_some() == b"resume"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        with trio.fail_after(10):
            await client.aclose()


async def test_a_proxy_that_is_not_there_costs_the_connection() -> None:
    before = descriptors()
    client, arrived = connection()
    with pytest.raises(OSError, match="connect"):
        await Relay(("127.0.0.1", free_ports(1)[0]), KEY).take(arrived, b"resume")

    assert await client.receive_some() == b""
    await client.aclose()
    assert descriptors() == before


@pytest.mark.filterwarnings("error")
async def test_another_key_is_told_on_both_ends(caplog: pytest.LogCaptureFixture) -> None:
    holding = Holding(b"another key of 16")
    async with holding.serving():
        client, arrived = connection()
        with pytest.raises(HandshakeError, match="key_file"):
            await Relay(holding.address, KEY).take(arrived, b"resume")
        await client.aclose()

    assert holding.prefaces == []


async def test_a_proxy_that_says_nothing_is_given_up_in_time(autojump_clock: MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client, arrived = connection()
        with pytest.raises(TimeoutError, match="did not answer within 5 s"):
            await Relay(silent.getsockname(), KEY).take(arrived, b"resume")
        await client.aclose()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "no proxy"),
        (MAGIC, "too little"),
        (MAGIC + bytes(GREETING_SIZE - len(MAGIC)) + bytes(36), "key_file"),
        (MAGIC + bytes(GREETING_SIZE - len(MAGIC)) + b"\xff" * 36, "at most"),
    ],
)
async def test_a_stranger_costs_one_socket(
    holding: Holding, said: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with await trio.open_tcp_stream(*holding.address) as stranger:
        await stranger.send_all(said)
        await stranger.send_eof()
        with trio.fail_after(10):
            try:
                async for _ in stranger:
                    pass
            except trio.BrokenResourceError:
                pass

    assert holding.prefaces == []
    assert why in caplog.text


async def test_a_stranger_who_says_nothing_is_dropped_in_time(autojump_clock: MockClock) -> None:
    holding = Holding()
    async with holding.serving(), await trio.open_tcp_stream(*holding.address) as stranger:
        with trio.fail_after(2 * DEADLINE_S):
            assert await stranger.receive_some() == b""


async def test_who_accepts_no_more_carries_on_with_what_came(holding: Holding) -> None:
    client, arrived = connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Relay(holding.address, KEY).take, arrived, b"resume")
        assert await client.receive_some() == b"resume"

        holding.accepting.cancel()
        await client.send_all(b"still")
        assert await client.receive_some() == b"still"
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*holding.address)
        await client.aclose()
