"""Keep a session on the best of its ways, while it goes on.

Which way to take when there is none is the business of :mod:`trioet.link.ways`. This takes a
session that runs over a fallback back to a better way: that is tried now and then beside the
line in use, which is given up when the new one has proven itself, and not before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from trioet.link.reconnect import Reconnector
from trioet.link.resumable import ResumableLink
from trioet.link.ways import NoWay, Ways

FIRST_PAUSE_S: Final = 15.0
MOST_PAUSE_S: Final = 300.0
"""Between two tries for a better way; doubled by each. Where a firewall drops what we send, a
try is three SYNs that nobody answers."""

LEAST_PAUSE_S: Final = 2.0
"""The same however often the network changes."""

TRIAL_S: Final = 15.0
"""How long a better way may take to prove itself before the next is tried."""

HELD_S: Final = 60.0
"""A better way that was lost sooner is tried with the pauses that it had."""


class Steering:
    """Watches over which way a session goes. :meth:`run` leads it back."""

    def __init__(
        self,
        link: ResumableLink,
        reconnector: Reconnector,
        ways: Ways,
        *,
        tell_detour: Callable[[], None],
    ) -> None:
        """``tell_detour`` is called when the session goes over a fallback for the first time."""
        self._link = link
        self._reconnector = reconnector
        self._ways = ways
        self._tell_detour = tell_detour
        self._told = all(way.fallback for way in ways.all)
        self._changed = trio.lowlevel.ParkingLot()
        self._woken = trio.Event()
        self._heard = -math.inf
        reconnector.on_lines = self._look
        reconnector.on_wake = self._wake
        reconnector.on_refused = ways.refused

    def _look(self) -> None:
        line = self._link.proven_line
        if line is not None and self._link.last_heard > self._heard:
            self._heard = self._link.last_heard
            self._ways.heard(line)
        if not self._told and self._on_detour():
            self._told = True
            self._tell_detour()
        self._changed.unpark_all()

    def _wake(self) -> None:
        self._ways.wake()
        self._woken.set()

    def _on_detour(self) -> bool:
        line = self._link.proven_line
        return line is not None and self._ways.way_of(line).fallback

    async def run(self) -> None:
        """Try for a better way whenever the session goes over a fallback, until cancelled.

        Cancellation leaves the session on the way that it goes.
        """
        if all(way.fallback for way in self._ways.all):
            return
        pause_s = FIRST_PAUSE_S
        changed_at = -math.inf
        while True:
            while not self._on_detour():
                await self._changed.park()
            if trio.current_time() - changed_at > HELD_S:
                pause_s = FIRST_PAUSE_S
            await trio.sleep(LEAST_PAUSE_S)
            self._woken = trio.Event()
            with trio.move_on_after(pause_s - LEAST_PAUSE_S):
                await self._woken.wait()
                pause_s = FIRST_PAUSE_S
            pause_s = min(2 * pause_s, MOST_PAUSE_S)
            if self._on_detour():
                await self._try()
                changed_at = trio.current_time()

    async def _try(self) -> None:
        try:
            line = await self._ways.dial_without_fallbacks()
        except NoWay:
            return
        self._reconnector.take_beside(line)
        with trio.move_on_after(TRIAL_S):
            while self._link.proven_line is not line:
                await self._changed.park()
