"""A network that fails, on loopback: a TCP relay with every fault a network has.

Everything random comes from one seed. What a real network does to packets, a relay can
only do to connections: a lost packet is a delay for TCP, and that is what it is here
(`network.py` loses real ones).
"""

from __future__ import annotations

import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Final

import trio

RESET: Final = struct.pack("ii", 1, 0)
"""struct linger that makes close(2) send RST, socket(7)."""

CHUNK: Final = 32 * 1024
RECORDED: Final = 64 * 1024
"""Bytes kept of the beginning of a connection, to be said again on another."""

HELD_S: Final = 1.5
"""How long the elder of two reordered connections waits for the younger."""

REPLAY_S: Final = 5.0


class Fault(Enum):
    """What happens to connections; the value is how often, among all."""

    RESET = "RST to both ends", 20
    END = "FIN to both ends", 20
    MID_FRAME = "cut after so many more bytes, wherever in a frame that is", 20
    REORDER = "RST; of the next two connections the second arrives first", 12
    DUPLICATE = "an earlier connection's first bytes are said again on another", 10
    BLACK_HOLE = "all bytes vanish, then RST", 5
    HALF_OPEN = "one direction dies, then RST", 5
    DELAY = "up to 300 ms each way for a moment, then RST", 4
    LOSS = "three in ten chunks come 200 ms late, then RST", 2
    FAR_AWAY = "2 s of round trip for a moment, then RST", 1
    NARROW = "64 kbit/s for a moment, then RST", 1

    def __init__(self, text: str, weight: int) -> None:
        self.text = text
        self.weight = weight


CUTS: Final = frozenset(Fault) - {Fault.DUPLICATE}
"""Those that end the connections they happen to."""


class Way:
    """One direction of a connection, and what is wrong with it."""

    def __init__(self, rng: random.Random) -> None:
        self.vanish = False
        self.delay = 0.0
        self.loss = 0.0
        self.rate = math.inf
        self.left = math.inf
        """Bytes until the connection is cut."""
        self._rng = rng

    async def hold(self, size: int, since: float) -> None:
        """Wait as long as ``size`` bytes that came at ``since`` are under way."""
        until = since + self.delay
        if self.loss and self._rng.random() < self.loss:
            until += 0.2
        await trio.sleep_until(max(until, trio.current_time() + size / self.rate))


class Connection:
    """One relayed connection."""

    def __init__(self, near: trio.SocketStream, rng: random.Random) -> None:
        self.near = near
        self.far: trio.SocketStream | None = None
        self.up, self.down = Way(rng), Way(rng)
        self.recorded = b""
        self.scope = trio.CancelScope()
        self.reset = True
        self.fault: Fault | None = None
        """What it suffers from, and will end of."""

    def cut(self, *, reset: bool) -> None:
        """End it, at both ends."""
        self.reset = reset
        self.scope.cancel()


class FaultyNetwork:
    """Relays connections to ``port``, and does to them what it is told."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.moved = 0
        """Bytes relayed, both ways."""
        self.accepted = 0
        self.counts: Counter[Fault] = Counter()
        self._target = host, port
        self._rng = random.Random(seed)
        self._open: list[Connection] = []
        self._recordings: list[bytes] = []
        self._hold_next = False
        self._elder: trio.Event | None = None
        self._moved = trio.lowlevel.ParkingLot()

    @property
    def cuts(self) -> int:
        """Connections cut so far, in all."""
        return sum(self.counts[fault] for fault in CUTS)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Those that are open, the oldest first."""
        return tuple(self._open)

    def newest_recording(self) -> bytes:
        """The first bytes that the client of the newest connection has sent."""
        return self._open[-1].recorded

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a free port of 127.0.0.1 until cancelled; ``started`` gives it."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=256)
        async with trio.open_nursery() as self._nursery:
            port: int = listener.socket.getsockname()[1]
            task_status.started(port)
            await trio.serve_listeners(self._relay, [listener])

    async def fail(
        self, every: Callable[[], float], enough: Callable[[], bool], share: float = 1.0
    ) -> None:
        """Do something random after about ``every()`` bytes, again and again, until ``enough()``.

        Each connection is struck with probability ``share``, but at least one is. Where
        little moves, the next fault comes after three seconds all the same.
        """
        faults = list(Fault)
        while not enough():
            goal = self.moved + self._rng.uniform(0, 2 * every())
            with trio.move_on_after(3):
                while self.moved < goal or not self._open:
                    await self._moved.park()
            (fault,) = self._rng.choices(faults, [fault.weight for fault in faults])
            struck = [known for known in self._open if self._rng.random() < share]
            if not struck and self._open:
                struck = [self._rng.choice(self._open)]
            if struck:
                self._nursery.start_soon(self.strike, fault, struck)
                await trio.sleep(0.02)

    async def strike(self, fault: Fault, struck: list[Connection]) -> None:
        """Let a fault happen; if it lasts a moment, return after that."""
        if fault is Fault.DUPLICATE:
            if self._recordings:
                await self._say_again(self._rng.choice(self._recordings))
            return
        for known in struck:
            known.fault = fault
        ways = [way for known in struck for way in (known.up, known.down)]
        match fault:
            case Fault.MID_FRAME:
                for way in ways:
                    way.left = self._rng.randint(1, 3 * CHUNK)
                await trio.sleep(0.02)
            case Fault.REORDER:
                self._hold_next = True
            case Fault.BLACK_HOLE:
                for way in ways:
                    way.vanish = True
                await trio.sleep(self._rng.uniform(0.5, 3))
            case Fault.HALF_OPEN:
                for known in struck:
                    self._rng.choice([known.up, known.down]).vanish = True
                await trio.sleep(self._rng.uniform(0.5, 3))
            case Fault.DELAY:
                for way in ways:
                    way.delay = self._rng.uniform(0.01, 0.3)
                await trio.sleep(1)
            case Fault.LOSS:
                for way in ways:
                    way.loss = 0.3
                await trio.sleep(2)
            case Fault.FAR_AWAY:
                for way in ways:
                    way.delay = 1.0
                await trio.sleep(5)
            case Fault.NARROW:
                for way in ways:
                    way.rate = 8000.0
                await trio.sleep(3)
        for known in struck:
            known.cut(reset=fault is not Fault.END)

    # Relaying

    async def _take_turns(self) -> None:
        """If connections are to be reordered, the elder of the next two waits for the younger."""
        if self._hold_next:
            self._hold_next = False
            self._elder = trio.Event()
            with trio.move_on_after(HELD_S):
                await self._elder.wait()
                await trio.sleep(0.05)
        elif self._elder is not None:
            self._elder.set()
            self._elder = None

    async def _relay(self, near: trio.SocketStream) -> None:
        await self._take_turns()
        try:
            far = await trio.open_tcp_stream(*self._target)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        self.accepted += 1
        connection = Connection(near, self._rng)
        self._open.append(connection)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, connection, near, far, connection.up)
                    nursery.start_soon(self._carry, connection, far, near, connection.down)
        finally:
            self._open.remove(connection)
            if connection.fault is not None:
                self.counts[connection.fault] += 1
            self._remember(connection.recorded)
            for stream in (near, far):
                if connection.reset:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                stream.socket.close()
            self._moved.unpark_all()

    async def _carry(
        self,
        connection: Connection,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        way: Way,
    ) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, connection, receive, sink, way)
            async with send:
                try:
                    while data := await source.receive_some(CHUNK):
                        if way is connection.up and len(connection.recorded) < RECORDED:
                            connection.recorded += data
                        await send.send((trio.current_time(), data))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    connection.cut(reset=True)

    async def _deliver(
        self,
        connection: Connection,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        sink: trio.SocketStream,
        way: Way,
    ) -> None:
        try:
            async for since, data in receive:
                await way.hold(len(data), since)
                if way.vanish:
                    continue
                part = data if way.left >= len(data) else data[: int(way.left)]
                way.left -= len(data)
                await sink.send_all(part)
                self.moved += len(part)
                self._moved.unpark_all()
                if way.left <= 0:
                    connection.cut(reset=True)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.cut(reset=True)

    def _remember(self, recorded: bytes) -> None:
        if recorded:
            self._recordings = [*self._recordings[-15:], recorded]

    async def _say_again(self, said: bytes) -> None:
        """Be who has recorded a connection, and plays it to the server."""
        self.counts[Fault.DUPLICATE] += 1
        try:
            stream = await trio.open_tcp_stream(*self._target)
        except OSError:
            return
        async with stream:
            with trio.move_on_after(REPLAY_S):
                try:
                    await stream.send_all(said)
                    while await stream.receive_some(CHUNK):
                        pass
                except trio.BrokenResourceError:
                    pass
