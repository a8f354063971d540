"""Wherever connections are cut, and however often: every byte arrives once and in order.

By seed, on Trio's own clock and a network in memory.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
import trio.testing

from lines import Cable
from pairs import ID, KEY
from trioet import EternalStream, open_eternal_stream
from trioet.errors import TrioetError
from trioet.eternal.flow import Flow
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import Role

SIZES = [1, 30, 1000, 24 * 1024, 24 * 1024 + 1, 100_000]


class BadNetwork:
    """Every connection breaks after a number of bytes that chance gives; some go nowhere."""

    def __init__(self, nursery: trio.Nursery, chance: random.Random) -> None:
        self.flow = Flow(KEY, Role.SERVER)
        self.server = EternalStream(self.flow, ID, close_timeout=100)
        self.connections = 0
        self._nursery = nursery
        self._chance = chance
        nursery.start_soon(self.flow.run)

    async def dial(self) -> Line:
        chance = self._chance
        await trio.sleep(chance.choice([0, 0.01, 0.3]))
        begun = self.flow.link.lines_proven > 0  # before that, patience is short
        if begun and chance.random() < 0.2:
            raise ConnectionRefusedError("by chance")
        self.connections += 1
        cable = Cable(capacity=chance.choice([100, 5_000, 100_000]))
        most = chance.choice([300, 5_000, 50_000, 300_000])
        cable.cut_after(chance.randint(0, most), chance.randint(0, most))
        if begun and chance.random() < 0.1:
            cable.stall()
        self._nursery.start_soon(self._serve, cable.server)
        return cable.client

    async def _serve(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            await self.flow.link.run_server_line(line, b"")


async def send(stream: EternalStream, data: bytes, messages: list[bytes], seed: int) -> None:
    chance = random.Random(seed)
    left, waiting = memoryview(data), list(messages)
    while left or waiting:
        if waiting and chance.random() < 0.3:
            await stream.send(waiting.pop(0))
        size = chance.choice(SIZES)
        await stream.send_all(left[:size])
        left = left[size:]
        if chance.random() < 0.1:
            await trio.sleep(chance.random())
        if chance.random() < 0.05:
            with trio.move_on_after(chance.random()):
                await stream.wait_delivered()
    await stream.send_eof()


async def expect(stream: EternalStream, data: bytes, seed: int) -> None:
    chance = random.Random(seed)
    got = bytearray()
    while more := await stream.receive_some(chance.choice(SIZES)):
        got += more
        with trio.move_on_after(chance.random() / 100):
            # Cancellation loses nothing.
            got += await stream.receive_some(1)
        if chance.random() < 0.1:
            await trio.sleep(chance.random())
    assert got == data


async def expect_messages(stream: EternalStream, messages: list[bytes]) -> None:
    for message in messages:
        assert await stream.receive() == message
    with pytest.raises(trio.EndOfChannel):
        await stream.receive()


@pytest.mark.parametrize("seed", range(25))
async def test_every_byte_once_and_in_order(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    chance = random.Random(seed)
    up, down = (chance.randbytes(chance.choice([0, 1000, 1_500_000])) for _ in range(2))
    said, told = (
        [chance.randbytes(chance.choice([0, 9, 60_000])) for _ in range(chance.randint(0, 20))]
        for _ in range(2)
    )
    async with trio.open_nursery() as nursery:
        network = BadNetwork(nursery, chance)
        async with open_eternal_stream(
            "memory", 1, client_id=ID, passkey=KEY, dial=network.dial, close_timeout=100
        ) as client:
            server = network.server
            async with trio.open_nursery() as both:
                both.start_soon(send, client, up, said, seed)
                both.start_soon(send, server, down, told, seed + 1)
                both.start_soon(expect, client, down, seed)
                both.start_soon(expect, server, up, seed + 1)
                both.start_soon(expect_messages, client, told)
                both.start_soon(expect_messages, server, said)
            nursery.start_soon(server.aclose)

        assert client.delivered
        nursery.cancel_scope.cancel()
    assert server.delivered
    network.flow.link.close()


async def test_a_server_that_was_restarted_is_believed_after_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing seals its answer, so for as long it may be anybody's."""
    from trioet.eternal.opening import DENIED_S
    from trioet.wire.handshake import connect_response_frame
    from trioet.wire.messages import ConnectResponse, ConnectStatus

    denying = False

    async with trio.open_nursery() as nursery:
        network = BadNetwork(nursery, random.Random(0))

        async def dial() -> Line:
            await trio.lowlevel.checkpoint()
            cable = Cable()
            cables.append(cable)
            if denying:
                answer = ConnectResponse(ConnectStatus.INVALID_KEY, b"no")
                cable.server.try_send(connect_response_frame(answer))
            else:
                nursery.start_soon(network._serve, cable.server)
            return cable.client

        cables: list[Cable] = []
        async with open_eternal_stream("memory", 1, client_id=ID, passkey=KEY, dial=dial) as client:
            await client.send_all(b"x")
            await client.wait_delivered()
            denying = True
            cables[-1].cut()
            begun = trio.current_time()
            with pytest.raises(trio.BrokenResourceError, match="does not know the session"):
                await client.receive_some()
            assert DENIED_S <= trio.current_time() - begun < 1.5 * DENIED_S
        nursery.cancel_scope.cancel()
