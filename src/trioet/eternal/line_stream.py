"""A line as a Trio stream, for what is said on it before the link has it."""

from __future__ import annotations

import trio

from trioet.link.line import Line, LineBroken


class LineStream(trio.abc.Stream):
    """Send and receive on a line, which it does not own: closing it leaves the line open."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            left = memoryview(data)
            while taken := self._line.try_send(left) if left else 0:
                left = left[taken:]
            while left:
                await self._line.wait_writable()
                left = left[self._line.try_send(left) :]
        except LineBroken as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        try:
            await self._line.wait_writable()
        except LineBroken as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return await self._line.receive()
        except LineBroken as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
