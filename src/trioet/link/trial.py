"""Lines on trial: they say whose they are and have proven nothing yet.

Whoever has seen a client id can open such lines, and a real client's returning line is
one too until its first packet has opened. So there are few at a time; who has failed
before gives way to who has not, and everybody to the places where the client was before;
and none can make us replay much again and again.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import trio

from trioet.errors import HandshakeError
from trioet.link.attachment import Attachment

MAX_PROVISIONAL: Final = 2
"""Lines that may wait for their proof at once."""

MAX_SOURCES: Final = 256
"""Sources whose failures are remembered, for one session."""

MAX_PLACES: Final = 16
"""Sources from which the session's own client came, that are remembered."""

LARGE: Final = 1024 * 1024
"""Bytes of catch-up that lines on trial may have at any time, all together."""

LARGE_EVERY_S: Final = 10.0
"""How often a larger one is served to a line on trial."""


class Trial:
    """The lines of one link that are on trial, and how those before them did."""

    def __init__(self) -> None:
        self._lines: list[Attachment] = []
        self._failures: Counter[str] = Counter()
        self._ours: dict[str, None] = {}
        """Sources that have proven themselves, the newest last."""
        self._waiting: list[Attachment] = []
        self._changed = trio.lowlevel.ParkingLot()
        self._large_again = -math.inf
        self._served = 0

    def __repr__(self) -> str:
        return f"<Trial lines={len(self._lines)} failures={self._failures.total()}>"

    def enter(self, newcomer: Attachment) -> None:
        """Take a line on trial; in place of the one of worst standing if there are too many.

        Raises:
          HandshakeError: those on trial have failed less often than the newcomer's source.
        """
        if len(self._lines) >= MAX_PROVISIONAL:
            worst = max(self._lines, key=self._standing)
            if self._standing(newcomer) > self._standing(worst):
                raise HandshakeError("others are on trial that have failed less often")
            self._lines.remove(worst)
            worst.give_up()
        self._lines.append(newcomer)

    def passed(self, attachment: Attachment) -> None:
        """The line has proven itself."""
        self._lines.remove(attachment)
        source = attachment.line.source
        self._failures.pop(source, None)
        self._ours.pop(source, None)
        self._ours[source] = None
        if len(self._ours) > MAX_PLACES:
            del self._ours[next(iter(self._ours))]
        self._changed.unpark_all()

    def failed(self, attachment: Attachment) -> None:
        """The line is gone, and has not proven itself."""
        if attachment in self._lines:
            self._lines.remove(attachment)
        self._failures[attachment.line.source] += 1
        if len(self._failures) > MAX_SOURCES:
            self._failures = Counter(dict(self._failures.most_common(MAX_SOURCES // 2)))
        self._changed.unpark_all()

    async def wait_turn(self, attachment: Attachment, size: int) -> None:
        """Wait until the line may have ``size`` bytes of catch-up, or has proven itself.

        Those of best standing go first. Cancellation gives the place up.
        """
        self._waiting.append(attachment)
        self._changed.unpark_all()
        try:
            while not attachment.proven:
                first = min(self._waiting, key=self._standing) is attachment
                if first and self.may_have(size):
                    return
                with trio.move_on_at(self._large_again if first else math.inf):
                    await self._changed.park()
        finally:
            self._waiting.remove(attachment)
            self._changed.unpark_all()

    def may_have(self, size: int) -> bool:
        """Whether a line on trial may have ``size`` bytes of catch-up now; if so, it has."""
        now = trio.current_time()
        if now >= self._large_again:
            self._large_again = now + LARGE_EVERY_S
            self._served = size
        elif self._served + size <= LARGE:
            self._served += size
        else:
            return False
        return True

    def _standing(self, attachment: Attachment) -> int:
        """How often its source has failed; less than nothing, if it has proven itself once."""
        source = attachment.line.source
        return -1 if source in self._ours else self._failures[source]
