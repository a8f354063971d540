"""A cable for tests: two ends of a line in memory that can be cut, stalled and narrow."""

from __future__ import annotations

import trio

from trioet.link.line import LineBroken


class Way:
    """One direction: what was sent and not yet received, at most ``capacity`` bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = bytearray()
        self.shut = False
        self.broken = False
        self.stalled = False
        self.carried = 0
        self.cut_after: int | None = None
        self.changed = trio.lowlevel.ParkingLot()

    def put(self, data: bytes | memoryview) -> int:
        if self.broken:
            raise LineBroken("cut")
        taken = min(len(data), self.capacity - len(self.held))
        self.held += bytes(data[:taken])
        self.changed.unpark_all()
        return taken


class MemoryLine:
    """One end of a cable."""

    def __init__(self, out: Way, back: Way) -> None:
        self.out, self.back = out, back
        self.closed = False
        self.place = "192.0.2.1"

    @property
    def peer_name(self) -> str:
        return "the other end"

    @property
    def source(self) -> str:
        return self.place

    def try_send(self, data: bytes | memoryview) -> int:
        if self.closed:
            raise LineBroken("closed on this side")
        return self.out.put(data)

    def can_send(self) -> bool:
        return self.closed or self.out.broken or len(self.out.held) < self.out.capacity

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.can_send():
            await self.out.changed.park()
        if self.closed or self.out.broken:
            raise LineBroken("cut")

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        way = self.back
        while True:
            if self.closed:
                raise LineBroken("closed on this side")
            limit = len(way.held)
            if way.cut_after is not None:
                limit = min(limit, way.cut_after - way.carried)
            if limit and not way.stalled:
                data = bytes(way.held[:limit])
                del way.held[:limit]
                way.carried += limit
                way.changed.unpark_all()
                return data
            if way.broken or (way.cut_after is not None and way.carried >= way.cut_after):
                raise LineBroken("cut")
            if way.shut and not way.held:
                return b""
            await way.changed.park()

    def shutdown(self) -> None:
        self.out.shut = True
        self.out.changed.unpark_all()

    def close(self) -> None:
        self.closed = True
        self.shutdown()
        self.back.broken = True
        self.back.changed.unpark_all()


class Cable:
    """Two lines joined. ``client`` and ``server`` are its ends."""

    def __init__(self, capacity: int = 1 << 20) -> None:
        up, down = Way(capacity), Way(capacity)
        self.client = MemoryLine(up, down)
        self.server = MemoryLine(down, up)

    def cut(self) -> None:
        """As a reset: both ends break, what was under way is lost."""
        for way in (self.client.out, self.client.back):
            way.broken = True
            way.held.clear()
            way.changed.unpark_all()

    def cut_after(self, up: int, down: int) -> None:
        """Break each way once it has carried so many bytes."""
        self.client.out.cut_after, self.client.back.cut_after = up, down

    def stall(self, stalled: bool = True) -> None:
        """As a black hole: nothing arrives, and nobody is told."""
        for way in (self.client.out, self.client.back):
            way.stalled = stalled
            way.changed.unpark_all()
