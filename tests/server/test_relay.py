"""One relayed connection, over real TCP sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from descriptors import descriptors
from ends import pattern, receive_all, receive_exactly, reset
from trioet.server.relay import BUFFER, relay
from waiting import until

SIZE = 4 * 1024 * 1024


class Relayed:
    """A relay between two applications: ``near`` and ``far`` are theirs."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.near = near
        self.far = far
        self.scope = trio.CancelScope()
        self.over = trio.Event()


@asynccontextmanager
async def relayed(early: bytes = b"") -> AsyncIterator[Relayed]:
    near, to_near = connection()
    far, to_far = connection()
    made = Relayed(near, far)

    async def run() -> None:
        with made.scope:
            await relay(to_near, to_far, early, bytearray(BUFFER))
        made.over.set()

    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield made
        nursery.cancel_scope.cancel()
    assert to_near.fileno() == to_far.fileno() == -1


def connection() -> tuple[trio.SocketStream, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setblocking(False)
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs


async def send(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def test_all_bytes_pass_both_ways_at_once() -> None:
    up, down = pattern(SIZE, 1), pattern(SIZE, 2)
    found: dict[str, bytes] = {}

    async def receive(name: str, stream: trio.SocketStream) -> None:
        found[name] = await receive_all(stream)

    async with relayed(b"early, ") as way, trio.open_nursery() as nursery:
        nursery.start_soon(send, way.near, up)
        nursery.start_soon(send, way.far, down)
        nursery.start_soon(receive, "up", way.far)
        nursery.start_soon(receive, "down", way.near)
    assert found == {"up": b"early, " + up, "down": down}


@pytest.mark.parametrize("ends_first", ["near", "far"])
async def test_the_end_of_one_side_is_passed_on_and_the_other_goes_on(ends_first: str) -> None:
    async with relayed() as way:
        one, other = (way.near, way.far) if ends_first == "near" else (way.far, way.near)
        await send(one, b"all I have")
        assert await receive_all(other) == b"all I have"
        await send(other, b"and I")
        assert await receive_all(one) == b"and I"
        with trio.fail_after(10):
            await way.over.wait()


@pytest.mark.parametrize("dies", ["near", "far"])
async def test_a_reset_is_one_for_the_other_side(dies: str) -> None:
    async with relayed() as way:
        one, other = (way.near, way.far) if dies == "near" else (way.far, way.near)
        await one.send_all(b"hello")
        assert await receive_exactly(other, 5) == b"hello"
        reset(one)
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await other.receive_some()


async def fill(stream: trio.SocketStream) -> int:
    """Send until nothing more is taken for a while; return how much was."""
    taken = 0
    with trio.move_on_after(10):
        while True:
            with trio.move_on_after(0.5) as patience:
                await trio.lowlevel.wait_writable(stream.socket)
            if patience.cancelled_caught:
                break
            taken += await stream.socket.send(bytes(BUFFER))
    return taken


@pytest.mark.parametrize("stalled", ["near", "far"])
async def test_a_side_that_reads_nothing_stops_the_other_and_only_that_way(stalled: str) -> None:
    async with relayed() as way:
        sink, source = (way.near, way.far) if stalled == "near" else (way.far, way.near)
        for stream in (sink, source):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        taken = await fill(source)
        assert taken < 64 * 1024 * 1024
        await sink.send_all(b"the other way")
        assert await receive_exactly(source, 13) == b"the other way"
        assert await receive_exactly(sink, taken) == bytes(taken)
        await source.send_all(b"and on")
        assert await receive_exactly(sink, 6) == b"and on"


async def test_a_side_that_dies_while_the_other_reads_nothing_is_noticed() -> None:
    async with relayed() as way:
        await fill(way.near)
        reset(way.near)
        with trio.fail_after(10):
            await way.over.wait()


async def test_cancelled_it_resets_both() -> None:
    before = descriptors()
    async with relayed() as way:
        await way.near.send_all(os.urandom(100))
        await receive_exactly(way.far, 100)
        way.scope.cancel()
        for stream in (way.near, way.far):
            with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
    await until(lambda: descriptors() == before)
