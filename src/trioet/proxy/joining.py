"""Two streams made one: what one says, the other hears, both ends of stream included."""

from __future__ import annotations

import trio

from trioet.session.channel import Traffic

CHUNK = 64 * 1024


async def join(
    near: trio.abc.HalfCloseableStream, far: trio.abc.HalfCloseableStream, traffic: Traffic
) -> None:
    """Copy both ways until both directions have ended. Closes neither; ``traffic`` counts.

    Cancellation loses what was under way.

    Raises:
      BaseExceptionGroup: of trio.BrokenResourceError: one of the two is broken.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_copy_to, near, far, traffic)
        nursery.start_soon(_copy_from, far, near, traffic)


async def _copy_to(
    near: trio.abc.HalfCloseableStream, far: trio.abc.HalfCloseableStream, traffic: Traffic
) -> None:
    while data := await near.receive_some(CHUNK):
        await far.send_all(data)
        traffic.sent += len(data)
    await far.send_eof()


async def _copy_from(
    far: trio.abc.HalfCloseableStream, near: trio.abc.HalfCloseableStream, traffic: Traffic
) -> None:
    while data := await far.receive_some(CHUNK):
        await near.send_all(data)
        traffic.received += len(data)
    await near.send_eof()
