"""Eternal streams for tests: a server, a network that fails, and both ends of streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

from trioet import EternalServer, EternalStream, StepFailed, open_eternal_stream, serve_eternal
from trioet.demo.cutter import Cutter

PSK = b"thirty-two bytes that both know."


class Net:
    """A server of eternal streams behind a relay that cuts."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.server: EternalServer
        self.cutter: Cutter
        self.port: int
        """Of the relay."""
        self.streams: list[EternalStream] = []
        """The server's ends, of the default handler."""
        self._come = trio.lowlevel.ParkingLot()
        self._stack = AsyncExitStack()

    async def serve(
        self, handler: Callable[[EternalStream], Awaitable[object]] | None = None, **how: object
    ) -> None:
        handler = handler or self._keep
        settings: dict[str, Any] = {"psk": PSK} | how

        async def run(task_status: trio.TaskStatus[EternalServer]) -> None:
            await serve_eternal(handler, 0, host="127.0.0.1", task_status=task_status, **settings)

        self.server = await self.nursery.start(run)
        self.cutter = Cutter(self.server.port)
        self.port = await self.nursery.start(self.cutter.serve)

    async def _keep(self, stream: EternalStream) -> None:
        """As long as the test lives."""
        self.streams.append(stream)
        self._come.unpark_all()
        await trio.sleep_forever()

    async def pair(self, **how: object) -> tuple[EternalStream, EternalStream]:
        """A client's stream, and its server's end. The test closes both."""
        client = await self.nursery.start(self._hold, how)
        while not (found := [s for s in self.streams if s.client_id == client.client_id]):
            await self._come.park()
        return client, found[0]

    async def _hold(
        self, how: dict[str, object], task_status: trio.TaskStatus[EternalStream]
    ) -> None:
        settings: dict[str, Any] = {"psk": PSK, "close_timeout": 5} | how
        async with open_eternal_stream("127.0.0.1", self.port, **settings) as stream:
            task_status.started(stream)
            await trio.sleep_forever()


@asynccontextmanager
async def net(
    handler: Callable[[EternalStream], Awaitable[object]] | None = None, **how: object
) -> AsyncIterator[Net]:
    """A server that runs for as long as the block."""
    async with trio.open_nursery() as nursery:
        made = Net(nursery)
        await made.serve(handler, **how)
        yield made
        nursery.cancel_scope.cancel()


async def echo(stream: EternalStream) -> None:
    """A handler."""
    async for data in stream:
        await stream.send_all(data)


@asynccontextmanager
async def cut_often(cutter: Cutter, every: int) -> AsyncIterator[None]:
    """Cut all connections again and again during the block, after so many bytes."""

    async def cut() -> None:
        while True:
            await cutter.wait_relayed(every)
            cutter.cut()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut)
        yield
        nursery.cancel_scope.cancel()


async def refusal(port: int, **how: object) -> StepFailed:
    """Why no stream is had."""
    settings: dict[str, Any] = dict(how)
    with pytest.raises(StepFailed) as caught:
        async with open_eternal_stream("127.0.0.1", port, **settings):
            pass
    return caught.value
