"""Ways: the manners of reaching one server, and which of them to take.

They are tried as RFC 8305 has it for addresses: the one that worked last at first, the next
beside it when that has failed or had a head start. The first to connect wins; the others are
cancelled. A way that connects and leads nowhere, because a proxy swallows all that it is
given, loses its standing until it has worked: it is then tried when all others have failed.
And one that leads to a server which does not know the session is not tried again before
another has worked.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import trio

from trioet.errors import TrioetError
from trioet.link.line import Line, LineBroken

log = logging.getLogger(__name__)

HEAD_START_S: Final = 0.25
"""Before the next way is tried beside one that has not connected (RFC 8305, 8)."""

LOYALTY_S: Final = 3.0
"""How long the server must have been out of reach, in a session that has worked, before a way
that is a fallback is tried: a login that asks a security key or an agent at every short loss
of the network is a nuisance, and most losses are short."""


RACE_DEADLINE_S: Final = 9.0
"""For all ways together: less than the reconnect loop has patience, so that each can be told
what was the matter."""


@dataclass(frozen=True, eq=False)
class Way:
    """One manner of reaching the server. ``name`` is for people, as in "over ssh".

    ``fallback``: it costs more than others and is left for them when they work again. ``wake``
    is called when something makes success likely, and ``avoid`` when a line of this way led to a
    server that does not know the session: it returns whether it may lead to another.
    """

    name: str
    dial: Callable[[], Awaitable[Line]]
    fallback: bool = False
    wake: Callable[[], None] = lambda: None
    avoid: Callable[[Line], bool] = lambda line: False


class NoWay(TrioetError):
    """Every way that was tried has failed; ``failures`` says how, in the order of the ways."""

    def __init__(self, failures: Sequence[tuple[Way, Exception]]) -> None:
        super().__init__(failures)
        self.failures = failures


class Ways:
    """The ways to one server, and how they have done in this session."""

    def __init__(
        self,
        ways: Sequence[Way],
        renew: Callable[[], Awaitable[Sequence[Way]]] | None = None,
    ) -> None:
        """``renew`` is asked before every dial what the ways are now."""
        self.all = tuple(ways)
        self._renew = renew
        self._worked: Way | None = None
        """The way that was last heard over."""
        self._doubted: set[Way] = set()
        """Ways that have connected, and over which nothing was heard since."""
        self._refused: set[Way] = set()
        """Ways that led to a server which would not have the session, before any has worked."""
        self._given_up: set[Way] = set()
        """Those of them that lead to no other."""
        self._missed_since: float | None = None
        """When we first dialled since something was heard."""
        self._by_line: WeakKeyDictionary[Line, Way] = WeakKeyDictionary()

    def __repr__(self) -> str:
        names = [way.name + "?" * (way in self._doubted) for way in self.all]
        return f"<Ways {' '.join(names)} worked={self._worked and self._worked.name}>"

    def way_of(self, line: Line) -> Way:
        """The way that a line of ours goes."""
        return self._by_line[line]

    def add(self, way: Way, line: Line) -> None:
        """This line goes this way."""
        self._by_line[line] = way
        self._doubted.add(way)

    def heard(self, line: Line) -> None:
        """The server has proven to be at the other end of the line, by what it just said."""
        self._worked = self._by_line[line]
        self._doubted.discard(self._worked)
        self._missed_since = None

    def refused(self, line: Line) -> bool:
        """The server at the other end of the line will not have a session that is new.

        Returns True if there is a way left to try.
        """
        way = self._by_line[line]
        self._refused.add(way)
        if not way.avoid(line):
            self._given_up.add(way)
        return any(way not in self._given_up for way in self.all)

    @property
    def refusing(self) -> tuple[Way, ...]:
        """The ways that :meth:`refused` was said of."""
        return tuple(way for way in self.all if way in self._refused)

    def wake(self) -> None:
        """Something makes success likely now."""
        for way in self.all:
            way.wake()

    async def dial(self) -> Line:
        """Connect, by whichever way does so first. Cancellation leaves nothing open.

        Raises:
          NoWay: none does.
        """
        if self._missed_since is None:
            self._missed_since = trio.current_time()
        return await self._race(lambda: [way for way in self._ordered() if self._is_due(way)])

    async def dial_without_fallbacks(self) -> Line:
        """Connect by a way that is no fallback, wherever the session goes now.

        Raises:
          NoWay: none does.
        """
        return await self._race(lambda: [way for way in self.all if not way.fallback])

    def _ordered(self) -> list[Way]:
        return sorted(self.all, key=lambda way: (way in self._doubted, way is not self._worked))

    def _is_due(self, way: Way) -> bool:
        if self._worked is None and way in self._given_up:
            return False
        if not way.fallback or self._worked is None or self._worked.fallback:
            return True
        if all(other.fallback for other in self.all):
            return True
        assert self._missed_since is not None, "dial() comes first"
        return trio.current_time() - self._missed_since >= LOYALTY_S

    async def _race(self, choose: Callable[[], Sequence[Way]]) -> Line:
        race = _Race()
        try:
            with trio.move_on_after(RACE_DEADLINE_S):
                if self._renew is not None:
                    self.all = tuple(await self._renew())
                async with trio.open_nursery() as nursery:
                    for way in choose():
                        if way in self._doubted:
                            await race.all_failed()
                        failed = race.enter(way, nursery)
                        with trio.move_on_after(HEAD_START_S):
                            await failed.wait()
        except BaseException:
            if race.winner is not None:
                race.winner[1].close()
            raise
        if race.winner is None:
            raise NoWay(race.failures())
        way, line = race.winner
        self.add(way, line)
        return line


class _Race:
    """Ways that are being tried at once, each in a task of a nursery that the winner cancels."""

    def __init__(self) -> None:
        self.winner: tuple[Way, Line] | None = None
        self._errors: dict[Way, Exception] = {}
        self._ends: list[trio.Event] = []

    def enter(self, way: Way, nursery: trio.Nursery) -> trio.Event:
        """Try a way; return what tells that it has failed."""
        failed = trio.Event()
        self._ends.append(failed)
        self._errors[way] = TimeoutError("connection timed out")
        nursery.start_soon(self._run, way, nursery.cancel_scope, failed)
        return failed

    def failures(self) -> list[tuple[Way, Exception]]:
        """How each way failed that was entered; by its slowness, unless otherwise."""
        return list(self._errors.items())

    async def all_failed(self) -> None:
        """Wait until every way that was entered has failed."""
        for failed in self._ends:
            await failed.wait()

    async def _run(self, way: Way, race: trio.CancelScope, failed: trio.Event) -> None:
        try:
            line = await way.dial()
        except (OSError, LineBroken, TrioetError) as error:
            log.info("%s: %s", way.name, error)
            self._errors[way] = error
            failed.set()
            return
        if self.winner is not None:
            line.close()
            return
        self.winner = way, line
        race.cancel()
