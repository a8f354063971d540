"""Notice a silent peer, by what comes in: our own typing proves nothing.

ET postpones its keepalive with every key typed, so a dead link under a typing user is
never noticed (Eternal Terminal specification 1.9). Here only packets that opened count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from trioet.link.resumable import ResumableLink

ANSWER_PATIENCE_S: Final = 1.0
"""After something was sent and nothing came back: from then to a probe, and from the probe
to suspicion."""


class Liveness:
    """Send KEEP_ALIVE when the peer is quiet; say when it is suspect, and when dead.

    ``interval`` seconds of silence bring a KEEP_ALIVE; twice that, and the line is closed.
    Data that stays unanswered is probed sooner. Owns no task: hand :meth:`run` to a
    nursery. An idle session costs one wake-up an interval.
    """

    def __init__(
        self, link: ResumableLink, interval: float, on_suspicion: Callable[[], None]
    ) -> None:
        self._link = link
        self._interval = interval
        self._on_suspicion = on_suspicion
        self._attached_at: float | None = None
        self._unanswered_since: float | None = None
        self._probed_at: float | None = None
        self._suspected = False
        self._kick = trio.lowlevel.ParkingLot()

    @property
    def silent_since(self) -> float:
        """When the peer was last heard, or its line attached."""
        return max(self._link.last_heard, self._attached_at or -math.inf)

    def sent(self) -> None:
        """Something was sent that the peer will probably answer."""
        since = self._unanswered_since
        if since is None:
            self._kick.unpark_all()
        if since is None or self._link.last_heard > since:
            self._unanswered_since = trio.current_time()

    def line_changed(self) -> None:
        """A line was attached or lost."""
        self._kick.unpark_all()

    def probe(self) -> None:
        """Ask for a sign of life now: the machine woke up, or the network changed."""
        if self._link.attached and self._probed_at is None:
            self._probe()
            self._kick.unpark_all()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with trio.move_on_at(self._step()):
                await self._kick.park()

    def _step(self) -> float:
        """Do what is due; return when to look again."""
        now = trio.current_time()
        if not self._link.attached:
            self._attached_at = self._unanswered_since = self._probed_at = None
            return math.inf
        if self._attached_at is None:
            self._attached_at = now
        heard = now if self._link.reading_paused else self.silent_since
        if self._probed_at is not None and heard >= self._probed_at:
            self._probed_at, self._suspected = None, False
        if self._unanswered_since is not None and heard >= self._unanswered_since:
            self._unanswered_since = None
        dead_at = heard + 2 * self._interval
        if now >= dead_at:
            self._link.drop_proven_line()
            return math.inf
        if self._probed_at is None:
            probe_at = heard + self._interval
            if self._unanswered_since is not None:
                probe_at = min(probe_at, self._unanswered_since + ANSWER_PATIENCE_S)
            if now < probe_at:
                return probe_at
            self._probe()
        assert self._probed_at is not None
        suspect_at = self._probed_at + max(ANSWER_PATIENCE_S, 3 * self._link.round_trip)
        if now < suspect_at:
            return min(suspect_at, dead_at)
        if not self._suspected:
            self._suspected = True
            self._on_suspicion()
        return dead_at

    def _probe(self) -> None:
        self._probed_at = trio.current_time()
        self._link.ping()
