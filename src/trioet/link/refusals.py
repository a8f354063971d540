"""What was refused: counted, told once, and remembered against those who do it often.

A source that is refused again and again is penalised: its connections get less room and
less time, and further refusals are counted without a line each in the log. It is never shut
out: behind the same address may be a user whose laptop has just come back.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

log = logging.getLogger(__name__)

FREE: Final = 20.0
"""Refusals of one source before it is penalised. They are forgiven at one a second."""

MOST: Final = 320.0
"""Refusals that are held against a source at most: five minutes after the last it is free."""

MAX_SOURCES: Final = 4096
"""Sources remembered; the one that was refused longest ago goes first."""


class Record:
    """What is held against a source, as of ``at``, and how much of it was not logged."""

    __slots__ = ("at", "points", "unsaid")

    def __init__(self) -> None:
        self.at = trio.current_time()
        self.points = 0.0
        self.unsaid = 0

    def decay(self) -> float:
        """Forgive what time has healed; return what is left."""
        now = trio.current_time()
        self.points = max(0.0, self.points - (now - self.at))
        self.at = now
        return self.points


class Refusals:
    """The refusals of one process."""

    def __init__(self) -> None:
        self.count = 0
        """Refusals so far, in all."""
        self._records: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"<Refusals count={self.count} sources={len(self._records)}>"

    def note(self, source: str, why: object, points: float = 1.0) -> None:
        """``source`` was refused, and this is why; 0 points if it can do nothing for it."""
        self.count += 1
        # To the end: the oldest is first.
        record = self._records.pop(source, None) or Record()
        self._records[source] = record
        if len(self._records) > MAX_SOURCES:
            del self._records[next(iter(self._records))]
        before = record.decay()
        record.points = min(before + points, MOST)
        if before > FREE:
            record.unsaid += 1
            return
        if record.unsaid:
            log.info("%d more connections of %s were refused", record.unsaid, source)
            record.unsaid = 0
        log.info("refused %s: %s", source, why)
        if record.points > FREE:
            log.warning("%s was refused often; what follows is counted, not logged", source)

    def penalised(self, source: str) -> bool:
        """Whether the source has been refused often of late."""
        record = self._records.get(source)
        return record is not None and record.decay() > FREE
