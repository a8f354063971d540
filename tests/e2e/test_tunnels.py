"""Tunnels of whole sessions, through a real sshd, as a user has them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from farside import FarSide
from ptys import Person, at_terminal

pytestmark = pytest.mark.e2e

PATIENCE_S = 20.0


async def connect_when_open(port: int) -> trio.SocketStream:
    """Connect to a port that will be listened on soon."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                return await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)


async def exchange(stream: trio.SocketStream, data: bytes) -> bytes:
    """Say it, end, and return all that comes back."""
    answer = bytearray()
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        nursery.start_soon(say)
        async for part in stream:
            answer += part
    return bytes(answer)


async def echo(stream: trio.abc.Stream) -> None:
    """Say everything again."""
    async with stream:
        async for data in stream:
            await stream.send_all(data)


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """A port of this machine that says everything again."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, echo, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def session(far_side: FarSide, *arguments: str) -> AsyncIterator[Person]:
    """Somebody at the terminal of a session."""
    async with at_terminal(far_side.connect(*arguments), far_side.environment) as person:
        yield person


async def test_a_local_forward_carries_both_ways_and_half_closes(
    far_side: FarSide, free_tcp_port: int
) -> None:
    data = os.urandom(1 << 20)
    async with echo_server() as port:
        async with session(far_side, "-L", f"{free_tcp_port}:localhost:{port}"):
            async with await connect_when_open(free_tcp_port) as stream:
                assert await exchange(stream, data) == data


async def test_a_remote_forward_carries_both_ways_and_half_closes(
    far_side: FarSide, free_tcp_port: int
) -> None:
    data = os.urandom(1 << 20)
    async with echo_server() as port:
        async with session(far_side, "-R", f"{free_tcp_port}:localhost:{port}"):
            async with await connect_when_open(free_tcp_port) as stream:
                assert await exchange(stream, data) == data
