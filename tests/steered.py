"""A cable for tests on which nothing moves by itself.

Bytes lie where they were sent until somebody delivers them, as many as he likes; so a test
decides between which two bytes a line is cut, and what is altered on its way.
"""

from __future__ import annotations

from typing import Final

import trio

from trioet.link.line import LineBroken

EVERYTHING: Final = 1 << 40
"""More bytes than any test sends."""


class Way:
    """One direction: what was sent, and how much of it has been delivered."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.record = bytearray()
        """Everything that was ever sent, as whoever listens has it."""
        self.stream = bytearray()
        """The same, as it will be delivered."""
        self.delivered = 0
        self.arrived = bytearray()
        """Delivered, and not yet received."""
        self.shut = False
        """The sender sends no more."""
        self.ended = False
        """The receiver has been told so."""
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def held(self) -> int:
        """Bytes under way."""
        return len(self.stream) - self.delivered

    def put(self, data: bytes | memoryview) -> int:
        taken = bytes(data[: self.capacity - self.held])
        self.record += taken
        self.stream += taken
        return len(taken)

    def deliver(self, count: int) -> bool:
        """Let ``count`` bytes arrive, then the end if there is one; say if anything did."""
        count = min(count, self.held)
        self.arrived += self.stream[self.delivered : self.delivered + count]
        self.delivered += count
        ends = self.shut and not self.held and not self.ended
        self.ended = self.ended or ends
        self.changed.unpark_all()
        return count > 0 or ends


class SteeredLine:
    """One end of a cable."""

    def __init__(self, out: Way, back: Way, source: str) -> None:
        self.out, self.back = out, back
        self.closed = False
        self.reset = False
        self._source = source

    @property
    def peer_name(self) -> str:
        return self._source

    @property
    def source(self) -> str:
        return self._source

    @property
    def gone(self) -> bool:
        """Closed on this side, or reset from the other."""
        return self.closed or self.reset

    def try_send(self, data: bytes | memoryview) -> int:
        if self.gone:
            raise LineBroken("reset")
        return self.out.put(data)

    def can_send(self) -> bool:
        return self.gone or self.out.held < self.out.capacity

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.can_send():
            await self.out.changed.park()
        if self.gone:
            raise LineBroken("reset")

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self.gone:
                raise LineBroken("reset")
            if self.back.arrived:
                data = bytes(self.back.arrived)
                self.back.arrived.clear()
                return data
            if self.back.ended:
                return b""
            await self.back.changed.park()

    def shutdown(self) -> None:
        self.out.shut = True

    def close(self) -> None:
        self.closed = True
        self.shutdown()
        self._wake()

    def break_off(self) -> None:
        """A reset has come from the network."""
        self.reset = True
        self.back.arrived.clear()
        self._wake()

    def _wake(self) -> None:
        self.out.changed.unpark_all()
        self.back.changed.unpark_all()


class SteeredCable:
    """Two lines joined. ``client`` and ``server`` are its ends."""

    def __init__(self, source: str, capacity: int) -> None:
        self.up, self.down = Way(capacity), Way(capacity)
        self.client = SteeredLine(self.up, self.down, source)
        self.server = SteeredLine(self.down, self.up, source)
        self.lost = False
        """It is a black hole: nothing arrives any more, and nobody is told."""

    def deliver(self, up: bool, count: int = EVERYTHING) -> bool:
        """Let bytes arrive in one direction; say if anything moved."""
        way, sender, receiver = self._direction(up)
        if self.lost:
            return False
        if receiver.closed and (way.held or way.shut) and not sender.reset:
            sender.break_off()  # as a kernel answers what arrives at a closed socket
            return True
        return way.deliver(count)

    def hang_up(self) -> None:
        """Both ends are told that the other has closed; what was under way is lost."""
        for way in (self.up, self.down):
            del way.stream[way.delivered :]
            way.shut = True
            way.deliver(0)
        self.lost = True

    def cut(self) -> None:
        """Both ends are reset."""
        self.client.break_off()
        self.server.break_off()
        self.lost = True

    def vanish(self) -> None:
        """Neither end is told anything, ever."""
        self.lost = True

    def cut_half(self) -> None:
        """Only the client is told."""
        self.client.break_off()
        self.lost = True

    def _direction(self, up: bool) -> tuple[Way, SteeredLine, SteeredLine]:
        if up:
            return self.up, self.client, self.server
        return self.down, self.server, self.client
