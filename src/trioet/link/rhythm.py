"""How long an idle line may be silent before its peer is asked for a sign of life.

What lies between (NAT, firewalls) forgets a connection on which nothing moves, after a time
that nobody tells: RFC 5382 (REQ-5) wants two hours, and there are boxes that take a minute. So
it is learnt: the silence is doubled as long as an answer comes back, and where a line was found
dead after a silence that it should have outlived, half of that is enough.

Nothing here reads a clock or sends.
"""

from __future__ import annotations

from typing import Final

BUSY_S: Final = 60.0
"""For so long after something moved the line counts as in use, and silences stay short."""

LONGEST_S: Final = 180.0
"""Question, answer and the kernel's acknowledgement are three packets: 60 an hour. Below the
four minutes after which the shortest-lived of the big clouds' balancers forget a connection."""

AGAIN_AFTER: Final = 60
"""After so many answers at the longest silence that was thought safe, twice that is tried, for
what was taken for a NAT's life may have been bad luck. After twice as many with each death."""


class Rhythm:
    """The silence to allow, between ``shortest`` and ``longest`` seconds.

    Where both are the same, nothing is ever learnt.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self.shortest = shortest
        self.longest = max(shortest, longest)
        self.limit = self.longest
        """The longest silence that is thought safe; remembered through changes of the network."""
        self._next = shortest
        self._busy_until = 0.0
        self._answers = 0
        """At the longest silence thought safe."""
        self._again_after = AGAIN_AFTER // 2

    def used(self, now: float) -> bool:
        """Somebody uses the line, or the network changed: ask often for a while.

        True if it was idle: silences are shorter from now on.
        """
        was_idle = now >= self._busy_until
        self._busy_until = now + BUSY_S
        self._next = self.shortest
        return was_idle

    def silence(self, now: float) -> float:
        """Seconds of silence after which to ask."""
        return self.shortest if now < self._busy_until else min(self._next, self.limit)

    def outlived(self, silence: float) -> None:
        """A line answered after such a silence."""
        if silence < min(self._next, self.limit):
            return  # of a line in use: nothing was tried
        if self._next >= self.limit and self.limit < self.longest:
            self._answers += 1
            if self._answers >= self._again_after:
                self._answers = 0
                self.limit = min(2 * self.limit, self.longest)
        self._next = min(2 * silence, self.limit)

    def died(self, silence: float) -> None:
        """A line was dead after such a silence, and the network was not."""
        if silence <= self.shortest:
            return  # a NAT that forgets so soon is beyond us
        self._again_after *= 2
        self._answers = 0
        self.limit = max(self.shortest, min(self.limit, silence / 2))
        self._next = self.shortest
