"""What was typed, on its way to the server: in order, as soon as there are credit and room."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from trioet.link.resumable import ResumableLink
from trioet.session.credit import Credit
from trioet.wire.messages import encode_terminal_buffer
from trioet.wire.packet import PacketType

INPUT_CHUNK: Final = 16 * 1024
"""Bytes typed in one packet at most, as ET sends them (specification 1.5)."""

TYPED_AHEAD: Final = 1024 * 1024
"""Bytes that may wait while keys are read on: behind a paste may be an escape."""


class TypedAhead:
    """Bytes that go at once, or wait; :meth:`run` sends those."""

    def __init__(self, link: ResumableLink) -> None:
        self.credit = Credit()
        """What the server's program may still be sent."""
        self._link = link
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<TypedAhead waiting={self._bytes}>"

    def put(self, data: bytes) -> None:
        """Send it, or keep it until it may go."""
        for start in range(0, len(data), INPUT_CHUNK):
            part = data[start : start + INPUT_CHUNK]
            if self._waiting or not self.credit or not self._link.has_room():
                self._waiting.append(part)
                self._bytes += len(part)
                self._changed.unpark_all()
            else:
                self._send(part)

    async def run(self) -> None:
        """Send what waits, until cancelled: that leaves it waiting.

        Raises:
          SessionUsedUp: no more can be sent.
        """
        while True:
            while self._waiting:
                await self.credit.wait()
                await self._link.wait_room()
                part = self._waiting.popleft()
                self._bytes -= len(part)
                self._send(part)
                self._changed.unpark_all()
            await self._changed.park()

    async def wait_sent(self, but: int = 0) -> None:
        """Wait until all has been sent ``but`` so many bytes, without a checkpoint if it has.

        Cancellation changes nothing.
        """
        while self._bytes > but:
            await self._changed.park()

    def _send(self, part: bytes) -> None:
        self.credit.spend(len(part))
        self._link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(part))
