"""An eternal stream is a stream of Trio's, and its bytes are exact."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from eternals import PSK, Net, cut_often, echo, net
from trioet import EternalStream, LinkState, open_eternal_stream
from trioet.link.room import WINDOW
from trioet.wire.stream_messages import MAX_MESSAGE
from waiting import until


def clogged(
    make: Callable[[], Awaitable[tuple[EternalStream, EternalStream]]],
) -> Callable[[], Awaitable[tuple[EternalStream, EternalStream]]]:
    """Streams whose ends have sent all that nobody need have read."""

    async def clog() -> tuple[EternalStream, EternalStream]:
        pair = await make()
        for stream in pair:
            await stream.send_all(bytes(WINDOW))
        return pair

    return clog


async def test_it_is_a_half_closeable_stream() -> None:
    async with net() as made:
        await check_half_closeable_stream(made.pair, clogged(made.pair))


async def test_the_server_end_is_one_too() -> None:
    async with net() as made:

        async def turned() -> tuple[EternalStream, EternalStream]:
            client, server = await made.pair()
            return server, client

        await check_half_closeable_stream(turned, clogged(turned))


@pytest.mark.parametrize("seed", range(3))
async def test_bytes_are_exact_both_ways_through_cuts(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(6_000_000)
    got = bytearray()

    async def send(stream: EternalStream) -> None:
        left = memoryview(data)
        while left:
            size = chance.choice([1, 100, 10_000, 200_000])
            await stream.send_all(left[:size])
            left = left[size:]
        await stream.send_eof()

    async with net(echo) as made:
        async with (
            open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(send, stream)
            while True:
                # So many that several fall into what is sent again after the one before.
                if len(got) >= made.cutter.cuts * 300_000:
                    made.cutter.cut()
                more = await stream.receive_some(chance.randint(1, 100_000))
                if not more:
                    break
                got += more

        assert got == data
        assert made.cutter.cuts >= 15
        statistics = stream.statistics()
        assert statistics.bytes_sent == statistics.bytes_received == len(data)
        assert statistics.connections > 10
        assert stream.delivered


async def goes_no_further(send: Callable[[], Awaitable[None]]) -> None:
    """Send until nothing goes any more, however long that takes; then cancel it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked(0.05)
        waits = len(nursery.child_tasks)
        nursery.cancel_scope.cancel()
    assert waits, "all of it went"


async def test_closing_delivers_over_a_connection_that_comes_later() -> None:
    got: list[bytes] = []

    async def collect(stream: EternalStream) -> None:
        got.append(b"".join([bytes(data) async for data in stream]))

    async with net(collect) as made:
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            await stream.send_all(b"a")
            await stream.wait_delivered()
            made.cutter.refuse = True
            made.cutter.cut()
            await stream.send_all(b"b" * 100_000)
            made.nursery.start_soon(allow_later, made)

        assert stream.delivered
        await until(lambda: got)
    assert got == [b"a" + b"b" * 100_000]


async def allow_later(made: Net) -> None:
    await until(lambda: made.cutter.attempts >= 3)
    made.cutter.refuse = False


async def test_closing_waits_no_longer_than_it_may() -> None:
    async with net(echo) as made:
        async with open_eternal_stream(
            "127.0.0.1", made.port, psk=PSK, close_timeout=0.05
        ) as stream:
            await stream.send_all(b"a")
            await stream.receive_some()
            made.cutter.refuse = True
            made.cutter.cut()
            await stream.send_all(b"lost")

        assert not stream.delivered


async def test_a_peer_that_is_away_bounds_what_is_kept() -> None:
    async with net() as made:
        client, server = await made.pair()
        made.cutter.refuse = True
        made.cutter.cut()

        await goes_no_further(partial(client.send_all, bytes(10 * WINDOW)))

        statistics = client.statistics()
        assert statistics.bytes_sent == WINDOW
        assert statistics.kept_bytes < 1.1 * WINDOW
        made.cutter.refuse = False
        got = 0
        while got < WINDOW:
            got += len(await server.receive_some())
        await client.send_all(b"and on")
        assert await server.receive_some() == b"and on"


async def test_a_reader_that_does_not_read_stops_the_writer_and_not_the_signs_of_life() -> None:
    async with net() as made:
        client, server = await made.pair(keepalive=0.1)
        await client.send_all(bytes(WINDOW))
        connections = client.statistics().connections

        with trio.move_on_after(0.5):
            await client.send_all(b"more")
        await client.wait_delivered()

        assert client.statistics().connections == connections
        assert client.link_state.connected
        assert server.statistics().bytes_received == WINDOW


async def test_messages_come_whole_and_in_order_through_cuts() -> None:
    sizes = [0, 1, 5, 70_000, MAX_MESSAGE, 0, 3, 300_000] * 3
    async with net() as made:
        client, server = await made.pair()

        async def send() -> None:
            for number, size in enumerate(sizes):
                await client.send(bytes([number]) * size)
            await client.send_eof()

        async with trio.open_nursery() as nursery, cut_often(made.cutter, 400_000):
            nursery.start_soon(send)
            for number, size in enumerate(sizes):
                assert await server.receive() == bytes([number]) * size
            with pytest.raises(trio.EndOfChannel):
                await server.receive()
        with pytest.raises(ValueError, match="a message of 1048577 bytes"):
            await server.send(bytes(MAX_MESSAGE + 1))


async def test_many_small_messages_are_bounded_too() -> None:
    async with net() as made:
        client, server = await made.pair()
        count = 0

        async def send() -> None:
            nonlocal count
            while count < 3000:
                await client.send(b"")
                count += 1

        await goes_no_further(send)
        assert 1000 < count < 3000
        for _ in range(count):
            assert await server.receive() == b""
        await client.send(b"again")
        assert await server.receive() == b"again"


async def test_bytes_and_messages_go_beside_each_other() -> None:
    async with net() as made:
        client, server = await made.pair()
        await client.send_all(b"bytes")
        await client.send(b"message")

        assert await server.receive() == b"message"
        assert await server.receive_some() == b"bytes"


async def test_an_abort_is_no_end() -> None:
    async with net() as made:
        client, server = await made.pair()
        await client.send_all(b"half")
        client.abort()

        assert await server.receive_some() == b"half"
        with pytest.raises(trio.BrokenResourceError, match="aborted"):
            await server.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="closed"):
            await server.send_all(b"x")


async def test_a_block_that_fails_aborts_and_its_error_comes_out_as_it_is() -> None:
    ends: list[str] = []

    async def watch(stream: EternalStream) -> None:
        await stream.send_all(b"here")
        try:
            await stream.receive_some()
        except trio.BrokenResourceError as error:
            ends.append(str(error))

    async with net(watch) as made:
        with pytest.raises(ZeroDivisionError):
            await fail(made.port)
        await until(lambda: ends)

    assert ends == ["the peer has aborted the stream"]


async def fail(port: int) -> None:
    async with open_eternal_stream("127.0.0.1", port, psk=PSK) as stream:
        await stream.receive_some()
        raise ZeroDivisionError


async def test_a_cancelled_block_waits_for_nothing() -> None:
    async with net(echo) as made:
        with trio.CancelScope() as scope:
            async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
                await stream.send_all(b"x")
                await stream.receive_some()
                made.cutter.refuse = True
                made.cutter.cut()
                scope.cancel()
                await stream.receive_some()

        assert scope.cancelled_caught
        assert not stream.delivered


async def test_a_cancelled_send_leaves_a_stream_that_can_be_used_on() -> None:
    data = random.Random(0).randbytes(3 * WINDOW)
    async with net() as made:
        client, server = await made.pair()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, data)
                await wait_all_tasks_blocked(0.05)
                scope.cancel()
        sent = client.statistics().bytes_sent
        assert 0 < sent < len(data)

        got = bytearray()
        while len(got) < sent:
            got += await server.receive_some()
        await client.send_all(data[sent:][:WINDOW])
        while len(got) < sent + WINDOW:
            got += await server.receive_some()
        assert got == data[: sent + WINDOW]


async def test_the_state_of_the_link_is_told() -> None:
    seen: list[LinkState] = []
    async with net() as made:
        client, server = await made.pair()
        state = client.link_state
        while not state.connected:
            state = await client.wait_link_change(state)
        assert state == LinkState(connected=True, peer_name=f"127.0.0.1 port {made.port}")
        made.cutter.refuse = True
        made.cutter.cut()
        seen.append(await client.wait_link_change(state))
        made.cutter.refuse = False
        while not (state := await client.wait_link_change(seen[-1])).connected:
            seen.append(state)

        assert not any(each.connected for each in seen)
        assert all(each.reason for each in seen)
        while not server.link_state.connected:
            await server.wait_link_change(server.link_state)
        assert "127.0.0.1" in server.link_state.peer_name


async def test_delivery_can_be_waited_for_from_both_ends() -> None:
    async with net() as made:
        client, server = await made.pair()
        for one, other in ((client, server), (server, client)):
            await one.send_all(b"something")
            made.cutter.cut()
            await one.wait_delivered()
            assert other.statistics().bytes_received == 9


async def test_who_waits_for_delivery_is_told_when_there_will_be_none() -> None:
    async with net() as made:
        client, _ = await made.pair(give_up_after=2.0)
        made.cutter.refuse = True
        made.cutter.cut()
        await client.send_all(b"something")
        with pytest.raises(trio.BrokenResourceError, match="no connection for 2 s"):
            await client.wait_delivered()
