"""The visitors: whose sessions are open, who is connected, and when that is all.

A session is the keeper's and lives on without us; what is here is counted, so that there are
no more than there may be.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio
from websockets.frames import CloseCode

from trioet.bootstrap.credentials import Credentials
from trioet.web.limits import (
    MAX_SESSIONS,
    MAX_SESSIONS_PER_SOURCE,
    SESSIONS_AT_ONCE,
    SESSIONS_PER_S,
    Full,
    Rate,
    Seats,
)
from trioet.web.options import WebOptions
from trioet.web.relay import first_words, relay
from trioet.web.sessions import Environment, Sessions
from trioet.web.websocket import Gone, WebSocket
from trioet.wire.handshake import connect_response_frame
from trioet.wire.messages import ConnectResponse, ConnectStatus

log = logging.getLogger(__name__)

FIRST_WORDS_S: Final = 10.0
"""From a WebSocket to its first message."""

GOODBYE_S: Final = 2.0
"""How long browsers may take to answer that we are going."""


async def _know_nobody(browser: WebSocket) -> None:
    """There is no keeper: its sessions went with it. Say so as a keeper's door would."""
    unknown = ConnectResponse(ConnectStatus.INVALID_KEY, b"Client is not registered")
    try:
        await browser.send(connect_response_frame(unknown))
        await browser.close(CloseCode.NORMAL_CLOSURE)
    except Gone:
        return


class Visitors:
    """Everybody who came by the web."""

    def __init__(
        self,
        options: WebOptions,
        sessions: Sessions,
        nursery: trio.Nursery,
        finished: trio.Event,
    ) -> None:
        """``finished`` is set when nobody is to be served any more: --once, and that one's session
        is over."""
        self._options = options
        self._sessions = sessions
        self._nursery = nursery
        self._connected: set[WebSocket] = set()
        self._seats = Seats(MAX_SESSIONS, MAX_SESSIONS_PER_SOURCE)
        self._rate = Rate(SESSIONS_AT_ONCE, SESSIONS_PER_S)
        self._came = False
        self._changed = trio.lowlevel.ParkingLot()
        self.finished = finished

    def __repr__(self) -> str:
        return f"<Visitors connected={len(self._connected)} sessions={len(self._seats)}>"

    # Sessions

    async def open_session(
        self, arguments: Sequence[str], environment: Environment, source: str
    ) -> Credentials:
        """Open a session for somebody at ``source``.

        Raises:
          Full: there are as many as there may be.
          LocalError: there is none to be had.
        """
        self._take_seat(source)
        try:
            opened = await self._sessions.open(arguments, environment)
        except BaseException:
            self._came = False
            self._seats.leave(source)
            raise
        self._nursery.start_soon(self._count_until, opened.wait_over, source)
        log.info("a session for a visitor from %s", source)
        return opened.credentials

    async def take_share(self, ticket: str, source: str) -> Mapping[str, object]:
        """Exchange the ticket of a link to a shared session, for somebody at ``source``.

        Raises:
          Full: that is too often.
          LocalError: there is no such link, or no more.
        """
        self._rate.spend(source)
        told = await self._sessions.take(ticket, source)
        log.info("a viewer of a shared session from %s", source)
        return told

    async def _count_until(self, wait_over: Callable[[], Awaitable[None]], source: str) -> None:
        await wait_over()
        self._leave_seat(source)

    @contextmanager
    def own_process(self, source: str) -> Iterator[None]:
        """Count a process that lives as long as the block runs, and no longer.

        Raises:
          Full: there are as many as there may be.
        """
        self._take_seat(source)
        log.info("a process for a visitor from %s", source)
        try:
            yield
        finally:
            self._leave_seat(source)

    def _take_seat(self, source: str) -> None:
        if self._options.once and self._came:
            raise Full
        self._rate.spend(source)
        self._seats.take(source)
        self._came = True

    def _leave_seat(self, source: str) -> None:
        self._seats.leave(source)
        if self._options.once:
            self.finished.set()

    # Connections

    @asynccontextmanager
    async def present(self, browser: WebSocket) -> AsyncIterator[bool]:
        """Count a connection while the block runs; False if there are too many already."""
        full = 0 < self._options.max_connection <= len(self._connected)
        if full:
            await browser.close(CloseCode.TRY_AGAIN_LATER, "as many visitors as there may be")
            yield False
            return
        self._connected.add(browser)
        self._changed.unpark_all()
        try:
            yield True
        finally:
            self._connected.discard(browser)
            self._changed.unpark_all()

    async def serve(self, browser: WebSocket) -> None:
        """Bring a browser to its session, as long as its connection lives."""
        async with self.present(browser) as welcome:
            if welcome:
                await self._connect(browser)

    async def _connect(self, browser: WebSocket) -> None:
        first = None
        # Who says nothing takes no place in the keeper's door, where all of us are one source.
        with trio.move_on_after(FIRST_WORDS_S):
            first = await first_words(browser)
        if first is None:
            await browser.close(CloseCode.PROTOCOL_ERROR, "no ConnectRequest")
            return
        try:
            line = await self._sessions.dial(first)
        except (FileNotFoundError, ConnectionRefusedError):
            await _know_nobody(browser)
        except OSError as error:
            log.warning("no keeper answers: %s", error.strerror or error)
            await browser.close(CloseCode.INTERNAL_ERROR, "no keeper answers")
        else:
            await relay(browser, line)

    async def say_goodbye(self) -> None:
        """Close all WebSockets with 1001, as their pages will come again."""
        with trio.move_on_after(GOODBYE_S):
            async with trio.open_nursery() as nursery:
                for browser in list(self._connected):
                    nursery.start_soon(browser.close, CloseCode.GOING_AWAY)

    async def wait_nobody(self, timeout_s: float) -> None:
        """Return when nobody was connected for so long. Cancellation changes nothing."""
        while True:
            with trio.move_on_after(timeout_s) as patience:
                while not self._connected:
                    await self._changed.park()
            if patience.cancelled_caught:
                return
            while self._connected:
                await self._changed.park()
