"""A network that fails, on loopback: a TCP relay with every fault a network has.

Everything random comes from one seed. What a real network does to packets, a relay can
only do to connections: a lost packet is a delay for TCP, and that is what it is here
(`network.py` loses real ones).

Bad weather is the network's, not a connection's: who comes back while it lasts comes back
through it.
"""

from __future__ import annotations

import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

QUIET_S: Final = 3.0
"""Where nothing moves for so long, the next fault comes all the same."""

RATE_STEP_S: Final = 0.1
"""A narrow network delivers in pieces of so many seconds."""

SLACK: Final = 4 * CHUNK
"""Bytes at least that may pass between the time for a fault and the fault."""


@dataclass(frozen=True)
class Weather:
    """What a network does to bytes, in both directions."""

    lasts_s: tuple[float, float] = (0.0, 0.0)
    vanish: bool = False
    delay_s: float = 0.0
    late: float = 0.0
    """The share of chunks that come LATE_S later."""
    rate: float = math.inf
    """Bytes a second."""


LATE_S: Final = 0.2
CLEAR: Final = Weather()


class Fault(Enum):
    """What happens to connections; how often, among all; and the weather, if it is that."""

    RESET = "RST to both ends", 20
    END = "FIN to both ends", 20
    MID_FRAME = "cut after so many more bytes, wherever in a frame that is", 20
    REORDER = "RST; of the next two connections the second arrives first", 12
    DUPLICATE = "an earlier connection's first bytes are said again on another", 10
    HALF_OPEN = "one direction dies, then RST", 5
    BLACK_HOLE = "all bytes vanish, then RST", 5, Weather((0.5, 3), vanish=True)
    DELAY = "300 ms each way", 3, Weather((1, 3), delay_s=0.3)
    LOSS = "three in ten chunks come 200 ms late", 2, Weather((2, 4), late=0.3)
    FAR_AWAY = "2 s of round trip", 1, Weather((8, 12), delay_s=1.0)
    NARROW = "64 kbit/s", 1, Weather((4, 8), rate=8000.0)

    def __init__(self, text: str, weight: int, weather: Weather = CLEAR) -> None:
        self.text = text
        self.weight = weight
        self.weather = weather


CUTS: Final = frozenset(Fault) - {Fault.DUPLICATE}
"""Those that end the connections they happen to."""


class Way:
    """One direction of a connection."""

    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.weather = weather
        self.left = math.inf
        """Bytes until the connection is cut."""
        self._rng = rng

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Split bytes as the network delivers them; what is past :attr:`left` is not."""
        while data:
            size = int(min(len(data), max(1, self.weather.rate * RATE_STEP_S), self.left))
            if size == 0:
                return
            self.left -= size
            yield data[:size]
            data = data[size:]

    async def hold(self, size: int, since: float) -> None:
        """Wait as long as ``size`` bytes that came at ``since`` are under way."""
        until = since + self.weather.delay_s
        if self._rng.random() < self.weather.late:
            until += LATE_S
        await trio.sleep_until(max(until, trio.current_time() + size / self.weather.rate))


class Connection:
    """One relayed connection."""

    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.up, self.down = Way(rng, weather), Way(rng, weather)
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
        self.through_weather: Counter[Fault] = Counter()
        """Connections that began in bad weather."""
        self.cut_at: list[int] = []
        """What :attr:`moved` was at each cut."""
        self.overtakings = 0
        """Connections that arrived before an older one."""
        self._storm: Fault | None = None
        self._share_struck = 1.0
        self._leash = math.inf
        """What :attr:`moved` does not pass before the next fault, however fast the machine."""
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
        nothing moves, the next fault comes after QUIET_S all the same.
        """
        while not enough():
            between = every()
            goal = self.moved + self._rng.uniform(0, 2 * between)
            self._leash = goal + max(SLACK, between)
            self._moved.unpark_all()
            await self._wait_until_moved(goal)
            faults = [fault for fault in Fault if self._storm is None or fault.weather is CLEAR]
            (fault,) = self._rng.choices(faults, [fault.weight for fault in faults])
            struck = [known for known in self._open if self._rng.random() < share]
            if not struck and self._open:
                struck = [self._rng.choice(self._open)]
            if struck:
                self._share_struck = len(struck) / len(self._open)
                self._nursery.start_soon(self.strike, fault, struck)
                await trio.sleep(0.02)
        self._leash = math.inf
        self._moved.unpark_all()

    async def _wait_until_moved(self, goal: float) -> None:
        with trio.move_on_after(QUIET_S) as patience:
            while self.moved < goal or not self._open:
                await self._moved.park()
                if self._storm is not None:
                    patience.deadline = trio.current_time() + QUIET_S

    async def strike(self, fault: Fault, struck: list[Connection]) -> None:
        """Let a fault happen; if it lasts a moment, return after that."""
        if fault is Fault.DUPLICATE:
            if self._recordings:
                await self._say_again(self._rng.choice(self._recordings))
            return
        if fault.weather is not CLEAR:
            await self._be_bad(fault, struck)
            return
        for known in struck:
            known.fault = fault
        match fault:
            case Fault.MID_FRAME:
                for known in struck:
                    for way in (known.up, known.down):
                        way.left = self._rng.randint(1, 3 * CHUNK)
                await trio.sleep(0.02)
            case Fault.REORDER:
                self._hold_next = True
            case Fault.HALF_OPEN:
                for known in struck:
                    way = self._rng.choice([known.up, known.down])
                    way.weather = Fault.BLACK_HOLE.weather
                await trio.sleep(self._rng.uniform(0.5, 3))
        for known in struck:
            known.cut(reset=fault is not Fault.END)

    async def _be_bad(self, fault: Fault, struck: list[Connection]) -> None:
        """Bad weather for those struck, and for as many of those who come."""
        self._storm = fault
        for known in struck:
            known.fault = fault
            known.up.weather = known.down.weather = fault.weather
            # In a black hole nobody is told; else they have to come back while it lasts.
            if not fault.weather.vanish:
                known.cut(reset=True)
        await trio.sleep(self._rng.uniform(*fault.weather.lasts_s))
        self._storm = None
        for known in self._open:
            if known.up.weather is fault.weather:
                known.fault = fault
                known.cut(reset=True)

    # Relaying

    async def _take_turns(self) -> None:
        """If connections are to be reordered, the elder of the next two waits for the younger."""
        if self._hold_next:
            self._hold_next = False
            self._elder = trio.Event()
            with trio.move_on_after(HELD_S):
                await self._elder.wait()
                self.overtakings += 1
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
        connection = Connection(self._rng, self._weather_for_newcomer())
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
                self.cut_at.append(self.moved)
            self._remember(connection.recorded)
            for stream in (near, far):
                if connection.reset:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                stream.socket.close()
            self._moved.unpark_all()

    def _weather_for_newcomer(self) -> Weather:
        if self._storm is None or self._rng.random() >= self._share_struck:
            return CLEAR
        self.through_weather[self._storm] += 1
        return self._storm.weather

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
                for piece in way.pieces(data):
                    await way.hold(len(piece), since)
                    while self.moved >= self._leash:
                        await self._moved.park()
                    if way.weather.vanish:
                        continue
                    await sink.send_all(piece)
                    self.moved += len(piece)
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
