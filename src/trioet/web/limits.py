"""How much of it, and from where: connections and sessions, in all and of one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

MAX_CONNECTIONS: Final = 1024
MAX_CONNECTIONS_PER_SOURCE: Final = 64

MAX_SESSIONS: Final = 500
MAX_SESSIONS_PER_SOURCE: Final = 50
"""That live at the same time. The keeper has a limit of its own, by which the sessions of those
who are away give way."""

SESSIONS_AT_ONCE: Final = 20
SESSIONS_PER_S: Final = 1.0
"""New sessions of one address: so many in a burst, and then at this rate."""

MAX_SOURCES: Final = 4096

LOCAL: Final = ("local", "127.0.0.1", "::/64")
"""Sources behind which everybody may be, as behind a proxy: they have a limit only in all."""


ANYBODY: Final = LOCAL[0]
"""The source of a connection that is a proxy's."""


class Full(Exception):
    """There are as many as there may be."""


class Seats:
    """Things that come and go, counted in all and by source."""

    def __init__(self, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextmanager
    def taken(self, source: str) -> Iterator[None]:
        """Take a seat for as long as the block runs.

        Raises:
          Full: there is none.
        """
        self.take(source)
        try:
            yield
        finally:
            self.leave(source)

    def take(self, source: str) -> None:
        """Take a seat.

        Raises:
          Full: there is none.
        """
        alone = source not in LOCAL
        if len(self) >= self._most or (alone and self._taken[source] >= self._most_per_source):
            raise Full
        self._taken[source] += 1

    def leave(self, source: str) -> None:
        """Give it back."""
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]


class Rate:
    """So many at once, and so many a second, of each source (a leaky bucket)."""

    def __init__(self, at_once: int, per_s: float) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._levels: dict[str, tuple[float, float]] = {}

    def spend(self, source: str) -> None:
        """One more.

        Raises:
          Full: that is too fast.
        """
        now = trio.current_time()
        level, at = self._levels.pop(source, (0.0, now))
        level = max(0.0, level - (now - at) * self._per_s)
        if level + 1 > self._at_once:
            self._levels[source] = level, now
            raise Full
        while len(self._levels) >= MAX_SOURCES:
            del self._levels[next(iter(self._levels))]
        self._levels[source] = level + 1, now
