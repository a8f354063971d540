"""Ways to a host's servers, as its SRV records name them while a session lasts."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from trioet.errors import TrioetError
from trioet.link.line import Line
from trioet.link.srv import (
    MOST_TARGETS,
    NOWHERE,
    SERVICE,
    Answer,
    LookupFailed,
    Record,
    in_order,
    look_up,
)
from trioet.link.ways import HEAD_START_S, Way

log = logging.getLogger(__name__)

LEAST_TTL_S: Final = 30.0
"""An answer is believed for so long whatever it says of itself, and so is that there is none."""

MOST_TTL_S: Final = 3600.0
"""No answer is believed for longer."""


class NotOffered(TrioetError):
    """The host says that it has no such server."""


class SrvWays:
    """The servers of one host, in the order in which to try them. :meth:`run` must be running."""

    def __init__(
        self,
        host: str,
        dial: Callable[[str, int], Awaitable[Line]],
        *,
        look_up: Callable[[str], Awaitable[Answer]] = look_up,
        chance: random.Random | None = None,
    ) -> None:
        """``dial`` connects to a host and a port."""
        self.found: tuple[Way, ...] = ()
        """The ways that the records name, as far as is known; none if they name none."""
        self.refusal = ""
        """Why there is no server, if the records say so; ``found`` has a way that leads nowhere."""
        self._host = host
        self._dial = dial
        self._look_up = look_up
        self._chance = chance or random.Random()
        self._known: dict[tuple[str, int], Way] = {}
        self._due = -math.inf
        self._asked = trio.Event()
        self._told = trio.Event()
        self._complained = False

    async def ways(self) -> tuple[Way, ...]:
        """What is to be tried now. Asks the name server when the last answer has expired.

        The first answer is waited for. A later one has a head start; after that it serves who
        comes next, for what was right before is better than nothing.
        """
        if trio.current_time() >= self._due:
            self._asked.set()
            told = self._told
            with trio.move_on_after(math.inf if self._due == -math.inf else HEAD_START_S):
                await told.wait()
        return self.found

    async def run(self, complain: Callable[[str], None]) -> None:
        """Look up when asked, until cancelled.

        ``complain`` is called once at most, when there is nothing to use: it gets the reason.
        """
        while True:
            await self._asked.wait()
            problem = await self._renew()
            if problem and not self.found and not self._complained:
                self._complained = True
                complain(problem)
            self._asked = trio.Event()
            told, self._told = self._told, trio.Event()
            told.set()

    async def _renew(self) -> str:
        """Make the ways what the name server says, or leave them; return what is amiss."""
        problem = ""
        ttl_s = 0.0
        try:
            records, ttl_s = await self._look_up(self._host)
        except LookupFailed as error:
            log.info("%s.%s: %s", SERVICE, self._host, error)
            problem = f"the SRV record of {self._host} could not be looked up: {error}"
        else:
            self.found = self._ways_of(records)
            if not records:
                problem = f"{self._host} has no SRV record {SERVICE}"
        self._due = trio.current_time() + min(max(ttl_s, LEAST_TTL_S), MOST_TTL_S)
        return problem

    def _ways_of(self, records: tuple[Record, ...]) -> tuple[Way, ...]:
        somewhere = [record for record in records if record.target != NOWHERE]
        self.refusal = ""
        if records and not somewhere:
            self.refusal = f"{self._host} says by its SRV record that no server is there"
            return (Way(f"{SERVICE}.{self._host}", self._refuse),)
        ordered = in_order(somewhere, self._chance)
        places = dict.fromkeys((record.target, record.port) for record in ordered)
        # A way that was there before is the same: how it has done stays known.
        known = {
            place: self._known.get(place)
            or Way(f"{place[0]} port {place[1]}", partial(self._dial, *place))
            for place in list(places)[:MOST_TARGETS]
        }
        self._known = known
        return tuple(known.values())

    async def _refuse(self) -> Line:
        raise NotOffered(self.refusal)
