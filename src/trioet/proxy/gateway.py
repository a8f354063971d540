"""The way of a proxy through a gateway: a session there, and another when it is lost for good.

A session survives every loss of the network; what it does not survive is the end of the far
machine. So when it has had no connection for a while, a new one is tried beside it, by ssh. If
the old one does not come back where the new one got through, it is lost, and the connections
through it end.
"""

from __future__ import annotations

import logging
import math
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from trioet.client.app import Client
from trioet.client.wakers import watch_network
from trioet.errors import TrioetError
from trioet.proxy.figures import Figures
from trioet.session.channel import Channel
from trioet.session.destinations import CannotReach, reset
from trioet.session.forwards import Forwards
from trioet.wire.forward import Endpoint

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two logins by ssh, each of which brought no session, or one that did not last as long
as the longest. They grow, and vary by a quarter."""

AWAY_S: Final = 10.0
"""Without a connection for so long, a session may be lost for good: a new one is tried."""

BACK_S: Final = 5.0
"""How long the old session may take to come back, once a new one has found its way."""

STOP_S: Final = 5.0
"""How long a session may take to tell the gateway that it is over."""

HOLD_S: Final = 60.0
"""How long a connection that was accepted waits for a session with a connection, before
it is reset."""


class Carrier(Protocol):
    """What a session to the gateway is for."""

    def began(self, client: Client) -> None:
        """There is a client, which connects."""

    async def carry(self, forwards: Forwards) -> None:
        """The session is there. It is over when this returns."""


OpenSession = Callable[[Carrier], Awaitable[object]]
"""Logs in and runs a session, to its end. Raises TrioetError: there was none, or it is lost."""


class Gateway:
    """Carries connections to a place that the gateway connects to. :meth:`run` keeps a session."""

    def __init__(
        self,
        name: str,
        open_session: OpenSession,
        destination: Endpoint,
        figures: Figures,
        *,
        jitter: random.Random | None = None,
    ) -> None:
        """``name`` is the gateway's, for people."""
        self._name = name
        self._open_session = open_session
        self._destination = destination
        self._figures = figures
        self._jitter = jitter or random.Random()
        self._session: _Session | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._woken = trio.Event()
        self.stopped = trio.Event()
        """Set by :meth:`stop`."""
        figures.trouble = f"no session with {name} yet"

    def __repr__(self) -> str:
        return f"<Gateway {self._name} {self._destination} {self._session!r}>"

    async def carry(self, sock: socket.socket) -> None:
        """Carry an accepted connection to its end; closes it. One whose session is lost is reset,
        and so it is on cancellation.
        """
        try:
            with trio.fail_after(HOLD_S):
                session = await self._wait_session()
            forwards = session.forwards
            channel = Channel(forwards.new_number(), sock, forwards, self._figures.traffic)
            with session.lifetime():
                await forwards.open_and_run(channel, 0, self._destination)
            self._figures.failed += not channel.in_order
        except (trio.TooSlowError, CannotReach) as error:
            log.warning("%s: %s", self._destination, str(error) or self._figures.trouble)
            self._figures.failed += 1
        finally:
            reset(sock)  # of no effect where it was closed in order

    async def _wait_session(self) -> _Session:
        while self._session is None or not self._session.is_back:
            await self._changed.park()
        return self._session

    # The session

    async def run(self) -> None:
        """Keep a session until :meth:`stop`, or until cancelled: that tells nobody."""
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as keeping:
                keeping.start_soon(self._keep, nursery)
                keeping.start_soon(watch_network, lambda: self._woken.set())
                await self.stopped.wait()
                keeping.cancel_scope.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + STOP_S

    def stop(self) -> None:
        """End the session, and tell the gateway; :meth:`run` returns soon."""
        self.stopped.set()

    async def _keep(self, nursery: trio.Nursery) -> None:
        pause = FIRST_PAUSE_S
        while True:
            await self._wait_needed()
            attempt = _Attempt(self)
            begun = trio.current_time()
            nursery.start_soon(self._hold, attempt)
            try:
                await self._wait_settled(attempt)
            finally:
                if not attempt.connected:
                    attempt.scope.cancel()
            await self._wait_needed()
            if trio.current_time() - begun > LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S
            await self._pause(pause * self._jitter.uniform(0.75, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the network changes: that may be all that was missing."""
        least = min(seconds, FIRST_PAUSE_S)
        await trio.sleep(least)
        self._woken = trio.Event()
        with trio.move_on_after(seconds - least):
            await self._woken.wait()

    async def _wait_needed(self) -> None:
        """Wait until there is no session, or one that has been away for AWAY_S."""
        while self._session is not None:
            with trio.move_on_at(self._session.away_since + AWAY_S) as patience:
                await self._changed.park()
            if patience.cancelled_caught:
                return

    async def _wait_settled(self, attempt: _Attempt) -> None:
        """Wait until it has become the session, or is over, or the old session is back."""
        while not attempt.over:
            if self._session is not None and self._session.is_back:
                return
            await self._changed.park()

    async def _hold(self, attempt: _Attempt) -> None:
        why = ""
        with attempt.scope:
            try:
                await self._open_session(attempt)
            except TrioetError as error:
                why = str(error)
        attempt.over = True
        if self._session is not None and self._session.attempt is attempt:
            self._session.end()
            self._session = None
        if self._session is None:
            what = why.splitlines()[0] if why else "it was ended there"
            self._figures.trouble = f"no session with {self._name}: {what}"
        if why:
            log.error("%s", why)
        self._changed.unpark_all()

    async def admit(self, session: _Session) -> bool:
        """A session is there: use it, if none is that comes back now that the network is there."""
        if self._session is not None:
            self._session.client.reconnector.wake()
            with trio.move_on_after(BACK_S):
                while self._session is not None and not self._session.is_back:
                    await self._changed.park()
        if self._session is not None:
            if self._session.is_back:
                return False
            log.error("the session with %s did not come back: it is lost", self._name)
            self._session.end()
            self._session.attempt.scope.cancel()
        self._session = session
        self._figures.sessions += 1
        self._figures.trouble = ""
        log.info("session with %s", self._name)
        self.line_changed(session.client)
        return True

    def line_changed(self, client: Client) -> None:
        """The session has got a connection, or lost one."""
        session = self._session
        if session is None or session.client is not client:
            return
        if client.link.proven_line is not None:
            session.away_since, self._figures.trouble = math.inf, ""
        elif session.is_back:
            session.away_since = trio.current_time()
            self._figures.trouble = f"no connection to {self._name}"
        self._changed.unpark_all()


class _Attempt:
    """A session that is tried, or is there; its Carrier."""

    def __init__(self, gateway: Gateway) -> None:
        self.scope = trio.CancelScope()
        self.connected = False
        self.over = False
        self._gateway = gateway
        self._client: Client | None = None

    def began(self, client: Client) -> None:
        self._client = client
        client.on_line_change = lambda: self._gateway.line_changed(client)

    async def carry(self, forwards: Forwards) -> None:
        assert self._client is not None, "it began"
        self.connected = True
        if await self._gateway.admit(_Session(self, self._client, forwards)):
            await self._gateway.stopped.wait()


@dataclass
class _Session:
    """The session that is used."""

    attempt: _Attempt
    client: Client
    forwards: Forwards
    away_since: float = math.inf
    """When it lost its connection."""
    scopes: set[trio.CancelScope] = field(default_factory=set)

    @property
    def is_back(self) -> bool:
        """True while it has a connection."""
        return self.away_since == math.inf

    @contextmanager
    def lifetime(self) -> Iterator[None]:
        """What is done within is cancelled when the session ends."""
        with trio.CancelScope() as scope:
            self.scopes.add(scope)
            try:
                yield
            finally:
                self.scopes.discard(scope)

    def end(self) -> None:
        """Cancel all that is done with it."""
        for scope in self.scopes:
            scope.cancel()
