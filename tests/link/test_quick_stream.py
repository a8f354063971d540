"""A stream that asks the kernel itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from trioet.link.quick_stream import QuickStream

MANY = 5_000_000


@pytest.fixture
def both() -> Iterator[tuple[QuickStream, QuickStream]]:
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    yield QuickStream(pair[0]), QuickStream(pair[1])
    for sock in pair:
        sock.close()


async def test_every_byte_arrives_though_the_kernel_takes_few(
    both: tuple[QuickStream, QuickStream],
) -> None:
    near, far = both
    data = bytes(range(250)) * (MANY // 250)
    got = bytearray()

    async def send() -> None:
        await near.send_all(data)
        await near.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while part := await far.receive_some():
            got += part
    assert got == data
    await far.send_all(b"the other way is open")
    assert await near.receive_some(9) == b"the other"
    assert await near.receive_some() == b" way is open"


async def test_a_read_that_is_cancelled_loses_nothing(
    both: tuple[QuickStream, QuickStream],
) -> None:
    near, far = both
    for _ in range(3):
        with trio.move_on_after(0):
            await far.receive_some()
    await near.send_all(b"whole")
    assert await far.receive_some() == b"whole"


async def test_who_always_finds_something_lets_others_have_their_turn(
    both: tuple[QuickStream, QuickStream],
) -> None:
    near, far = both
    await near.send_all(bytes(1000))
    await far.receive_some(10)
    with trio.testing.assert_checkpoints():
        await far.receive_some(10)


async def test_closing_wakes_who_waits_and_is_told_apart_from_a_loss(
    both: tuple[QuickStream, QuickStream],
) -> None:
    near, far = both

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await far.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await far.aclose()
    for again in (far.receive_some, far.send_eof, far.wait_send_all_might_not_block, far.aclose):
        if again == far.aclose:
            await again()
            continue
        with pytest.raises(trio.ClosedResourceError):
            await again()
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"to nobody")
