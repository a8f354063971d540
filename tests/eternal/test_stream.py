"""An eternal stream is a stream of Trio's, and its bytes are exact."""

from __future__ import annotations

import trio
from trio.testing import check_half_closeable_stream

from eternals import Net, net
from trioet import EternalStream


async def test_it_is_a_half_closeable_stream() -> None:
    async with net() as made:
        await check_half_closeable_stream(made.pair, clogged(made))


async def test_the_server_end_is_one_too() -> None:
    async with net() as made:

        async def turned() -> tuple[EternalStream, EternalStream]:
            return (await made.pair())[::-1]

        await check_half_closeable_stream(turned, clogged(made))


def clogged(made: Net):
    async def make() -> tuple[EternalStream, EternalStream]:
        client, server = await made.pair()
        for stream in (client, server):
            with trio.move_on_after(1) as patience:
                while True:
                    await stream.send_all(bytes(64 * 1024))
                    patience.deadline = trio.current_time() + 0.2
        return client, server

    return make
