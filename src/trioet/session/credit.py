"""Credit for the terminal: how much of it may be on its way.

With it, a terminal that is stopped (Ctrl-S), or a shell that does not read what is typed,
makes its sender wait and nobody else: the link goes on for the session's tunnels. The
messages are those of channels, whose numbers begin with 1: the terminal is number 0.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from trioet.link.resumable import ACK_EVERY
from trioet.link.room import WINDOW

TERMINAL: Final = 0
"""In place of a channel's number."""


class Credit:
    """The sender's side: what may still be sent. There is no limit until one is agreed."""

    def __init__(self) -> None:
        self._left = math.inf
        self._waived = False
        self._more = trio.lowlevel.ParkingLot()

    def agree(self) -> None:
        """From now on the peer tells."""
        self._left = WINDOW

    def spend(self, amount: int) -> None:
        """So many bytes were sent. A little more than there was may be."""
        self._left -= amount

    def grant(self, amount: int) -> None:
        """The peer has dealt with so many bytes."""
        self._left += amount
        self._more.unpark_all()

    def waive(self, waived: bool) -> None:
        """The peer is away, and cannot tell; or is there again. What is sent meanwhile counts."""
        self._waived = waived
        self._more.unpark_all()

    def __bool__(self) -> bool:
        """Whether something may be sent."""
        return self._left > 0 or self._waived

    async def wait(self) -> None:
        """Wait until something may be sent; without a checkpoint if it may be now."""
        while not self:
            await self._more.park()


class Debt:
    """The receiver's side: what was dealt with, and the peer was not told yet."""

    def __init__(self) -> None:
        self._owed = 0

    def take(self, amount: int) -> int:
        """So many bytes were dealt with; return what the peer is to be granted now, often 0."""
        self._owed += amount
        if self._owed < ACK_EVERY:
            return 0
        owed, self._owed = self._owed, 0
        return owed
