"""How much bulk may be in flight: enough to fill the network, too little to queue in it.

A keystroke cannot overtake what is on its way. So the window follows the time from sending
a packet to its acknowledgement: what that has grown above the least seen is spent waiting
in queues, the kernels' and the network's (the idea of LEDBAT, RFC 6817). The window grows
while the queue is shorter than its target, and shrinks to what the target allows.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

LEAST_WINDOW: Final = 256 * 1024
MOST_WINDOW: Final = 8 * 1024 * 1024
"""Bytes. Over 100 ms of round trip the latter allows 80 MB/s."""

GROWTH: Final = 1.25
"""Of the window, once a round trip."""

QUEUE_S: Final = 0.002
QUEUE_SHARE: Final = 0.5
"""What a keystroke may wait behind bulk: so many seconds, or so much of a round trip."""

MEMORY_S: Final = 30.0
"""The least round trip is that of the last 30 to 60 s: networks change."""

LEAST_CHUNK: Final = 16 * 1024
MOST_CHUNK: Final = 64 * 1024
"""Bytes of bulk in one packet: few where the network is slow."""

CHUNKS: Final = 8
"""In a window, where it is wide enough for the largest."""


class InFlight(NamedTuple):
    """A packet of bulk that the peer has not acknowledged."""

    ordinal: int
    size: int
    sent_at: float


class Pace:
    """The window, and what is in it. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self.window = float(LEAST_WINDOW)
        self.in_flight = 0
        """Bytes sent and not acknowledged."""
        self._packets: deque[InFlight] = deque()
        self._least = self._least_before = math.inf
        self._period_ends = -math.inf
        self._adjusted_at = -math.inf
        self._was_full = False

    def __repr__(self) -> str:
        return f"<Pace window={self.window:.0f} in_flight={self.in_flight}>"

    @property
    def chunk(self) -> int:
        """Bytes that the next packet should have at most."""
        return min(MOST_CHUNK, max(LEAST_CHUNK, int(self.window) // CHUNKS))

    def has_room(self) -> bool:
        """True while more may be sent."""
        room = self.in_flight < self.window
        self._was_full = self._was_full or not room
        return room

    def sent(self, ordinal: int, size: int, now: float) -> None:
        """A packet of bulk was sent."""
        self._packets.append(InFlight(ordinal, size, now))
        self.in_flight += size

    def acknowledged(self, count: int, now: float) -> None:
        """The peer has all packets up to number ``count``."""
        newest: InFlight | None = None
        while self._packets and self._packets[0].ordinal <= count:
            newest = self._packets.popleft()
            self.in_flight -= newest.size
        if newest is not None and newest.sent_at > -math.inf:
            self._learn(newest.sent_at, now)

    def interrupted(self) -> None:
        """The connection was lost: how long what is in flight takes says nothing."""
        self._packets = deque(kept._replace(sent_at=-math.inf) for kept in self._packets)

    def _learn(self, sent_at: float, now: float) -> None:
        delay = now - sent_at
        if now >= self._period_ends:
            self._least_before, self._least = self._least, math.inf
            self._period_ends = now + MEMORY_S
        self._least = min(self._least, delay)
        if sent_at < self._adjusted_at:
            return  # it was sent with another window
        least = min(self._least, self._least_before)
        allowed = least + max(QUEUE_S, QUEUE_SHARE * least)
        if delay > allowed:
            self.window = max(LEAST_WINDOW, self.window * max(0.5, allowed / delay))
        elif self._was_full:
            self.window = min(MOST_WINDOW, self.window * GROWTH)
        self._adjusted_at = now
        self._was_full = False
