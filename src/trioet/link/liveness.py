"""Notice a silent peer, by what comes in: our own typing proves nothing.

ET postpones its keepalive with every key typed, so a dead link under a typing user is
never noticed (Eternal Terminal specification 1.9). Here only packets that opened count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import trio

from trioet.link.resumable import ResumableLink
from trioet.link.rhythm import Rhythm

ANSWER_PATIENCE_S: Final = 0.5
"""After something was sent and nothing came back: from then to a probe, and from the probe
to suspicion."""

HEAD_START_S: Final = 0.05
"""What a line gets to answer, when the network changed and yet leads where it led, before
another is tried beside it. An answer in time spares the server a connection."""

ROUND_TRIPS: Final = 3
"""Nothing is late that took no longer than so many round trips as measured."""

LATE_S: Final = 1.0
"""A timer this late: the process was stopped, and what seems silence may lie unread."""

BLAME_S: Final = 10.0
"""A silence killed a line only if another was had so soon; else the network was gone."""


class Trial(NamedTuple):
    """A silence that ended with a question."""

    silence: float
    asked_at: float
    proven: int
    """How many lines had proven themselves by then: a later one is not the one asked."""


class Liveness:
    """Send KEEP_ALIVE when the peer is quiet; say when it is suspect, and when dead.

    The rhythm says how long a silence brings a KEEP_ALIVE. A line is closed that has been
    silent for twice the rhythm's shortest time, and for that time since it was asked. Data
    that stays unanswered is probed sooner. Owns no task: hand :meth:`run` to a nursery. An
    idle session costs one wake-up a question.
    """

    def __init__(
        self, link: ResumableLink, rhythm: Rhythm, on_suspicion: Callable[[], None]
    ) -> None:
        self.rhythm = rhythm
        """May be replaced at any time; :meth:`line_changed` makes it count at once."""
        self._link = link
        self._on_suspicion = on_suspicion
        self._attached_at: float | None = None
        self._unanswered_since: float | None = None
        self._probed_at: float | None = None
        self._suspect_at = math.inf
        self._trial: Trial | None = None
        self._due = math.inf
        self._kick = trio.lowlevel.ParkingLot()

    @property
    def silent_since(self) -> float:
        """When the peer was last heard, or its line attached."""
        return max(self._link.last_heard, self._attached_at or -math.inf)

    def used(self) -> None:
        """Something moved on the line that is more than a sign of life."""
        if self.rhythm.used(trio.current_time()):
            self._kick.unpark_all()

    def sent(self) -> None:
        """Something was sent that the peer will probably answer."""
        since = self._unanswered_since
        if since is None:
            self._kick.unpark_all()
        if since is None or self._link.last_heard > since:
            self._unanswered_since = trio.current_time()
        self.used()

    def line_changed(self) -> None:
        """A line was attached or lost."""
        self._kick.unpark_all()

    def probe(self, *, moved: bool = False) -> None:
        """Ask for a sign of life now: the machine woke up, or the network changed.

        ``moved``: and the way to the peer is no longer the line's, so that another line is
        wanted at once, beside it.
        """
        self._trial = None
        if moved:
            self.used()
        if not self._link.attached:
            return
        now = trio.current_time()
        if self._probed_at is None:
            self._probe()
        patience = 0.0 if moved else max(HEAD_START_S, ROUND_TRIPS * self._link.round_trip)
        self._suspect_at = min(self._suspect_at, now + patience)
        self._kick.unpark_all()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._due = self._step()
            with trio.move_on_at(self._due):
                await self._kick.park()

    def _step(self) -> float:
        """Do what is due; return when to look again."""
        now = trio.current_time()
        if not self._link.attached:
            self._attached_at = self._unanswered_since = self._probed_at = None
            return math.inf
        if self._attached_at is None:
            self._attached_at = now
        if now > self._due + LATE_S:
            self._probed_at = self._trial = None  # ask again: the answer may lie unread
        heard = now if self._link.reading_paused else self.silent_since
        self._learn()
        if self._probed_at is not None and heard >= self._probed_at:
            self._probed_at, self._suspect_at = None, math.inf
        if self._unanswered_since is not None and heard >= self._unanswered_since:
            self._unanswered_since = None
        if self._probed_at is None:
            probe_at = heard + self.rhythm.silence(now)
            if self._unanswered_since is not None:
                probe_at = min(probe_at, self._unanswered_since + ANSWER_PATIENCE_S)
            if now < probe_at:
                return probe_at
            self._trial = Trial(now - heard, now, self._link.lines_proven)
            self._probe()
        assert self._probed_at is not None
        shortest = self.rhythm.shortest
        dead_at = max(heard + 2 * shortest, self._probed_at + shortest)
        if now >= dead_at:
            self._link.drop_proven_line()
            return math.inf
        if self._suspect_at <= now:
            self._suspect_at = math.inf
            self._on_suspicion()
        return min(self._suspect_at, dead_at)

    def _learn(self) -> None:
        trial, heard = self._trial, self._link.last_heard
        if trial is None or heard < trial.asked_at:
            return
        self._trial = None
        if self._link.lines_proven == trial.proven:
            self.rhythm.outlived(trial.silence)
        elif heard - trial.asked_at < BLAME_S:
            self.rhythm.died(trial.silence)

    def _probe(self) -> None:
        self._probed_at = trio.current_time()
        patience = max(ANSWER_PATIENCE_S, ROUND_TRIPS * self._link.round_trip)
        self._suspect_at = self._probed_at + patience
        self._link.ping()
