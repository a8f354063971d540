"""Accepting connections, and the room where they wait until they have said who they are.

Strangers cost little and never shut anybody out: who waits longest gives way, a source that
floods the room to itself alone, and one that was refused often gets less of it.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from trioet.link.refusals import Refusals

log = logging.getLogger(__name__)

MAX_WAITING: Final = 512
"""Connections that have not said who they are; the oldest goes first."""

MAX_WAITING_PER_SOURCE: Final = 64

PENALISED_PATIENCE_S: Final = 2.0
PENALISED_WAITING: Final = 16
"""Time and room for a source that was refused often. Who comes to resume needs a round trip."""

ACCEPT_PAUSE_S: Final = 0.1
"""After accept failed for want of memory, or of a descriptor that nobody could give up."""

SHORTAGE_TOLD_EVERY_S: Final = 3600.0
"""How often a shortage of descriptors is told in the log, at most."""

_GONE_ALREADY: Final = {errno.ECONNABORTED, errno.EPROTO}

_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE}


async def accept(listener: socket.socket) -> tuple[socket.socket, object]:
    """Accept a connection, as a plain non-blocking socket.

    Raises:
      OSError: accept(2) failed.
    """
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            connection, address = listener.accept()
        except BlockingIOError:
            continue
        connection.setblocking(False)
        return connection, address


class WaitingRoom:
    """Seats for connections that have not said who they are."""

    def __init__(self, refusals: Refusals) -> None:
        """``refusals`` says who was refused often, and hears who had to give way."""
        self._refusals = refusals
        self._seated: dict[trio.CancelScope, str] = {}
        self._per_source: Counter[str] = Counter()
        self._left = trio.lowlevel.ParkingLot()
        self._reserve = Reserve()

    def __repr__(self) -> str:
        return f"<WaitingRoom {len(self)}>"

    def __len__(self) -> int:
        return len(self._seated)

    async def wait_empty(self) -> None:
        """Wait until nobody is there. Cancellation changes nothing."""
        while self._seated:
            await self._left.park()

    def patience(self, source: str, usual_s: float) -> float:
        """How long somebody from there may take, in seconds."""
        penalised = self._refusals.penalised(source)
        return min(usual_s, PENALISED_PATIENCE_S) if penalised else usual_s

    @contextmanager
    def seat(self, source: str) -> Iterator[trio.CancelScope]:
        """A seat for the length of the block, which is cancelled if others need it."""
        self._make_room(source)
        with trio.CancelScope() as scope:
            self._seated[scope] = source
            self._per_source[source] += 1
            try:
                yield scope
            finally:
                del self._seated[scope]
                self._per_source[source] -= 1
                if not self._per_source[source]:
                    del self._per_source[source]
                self._left.unpark_all()

    def _make_room(self, source: str) -> None:
        penalised = self._refusals.penalised(source)
        allowed = PENALISED_WAITING if penalised else MAX_WAITING_PER_SOURCE
        if self._per_source[source] >= allowed:
            self._drop_oldest("too many from there were waiting", source)
        elif len(self._seated) >= MAX_WAITING:
            self._drop_oldest("too many were waiting")

    def _drop_oldest(self, why: str, source: str | None = None) -> None:
        for scope, known in self._seated.items():
            if not scope.cancel_called and source in (None, known):
                self._refusals.note(known, why, points=0)
                scope.cancel()
                return

    async def cannot_accept(self, listener: socket.socket, error: OSError) -> None:
        """Make room after accept(2) failed, or wait a little; then it may be tried again."""
        if error.errno in _GONE_ALREADY:
            return
        self._reserve.tell(error)
        if error.errno in _OUT_OF_DESCRIPTORS:
            if self._seated:
                self._drop_oldest("no more connections can be open")
                await self._left.park()
                return
            if self._reserve.spend_on(listener):
                return
        await trio.sleep(ACCEPT_PAUSE_S)


class Reserve:
    """A descriptor kept for the day when there is no other.

    With it the connection at the head of the queue can be taken and closed, so that its
    client comes again at once instead of waiting for nothing.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._told = -math.inf
        self._refill()

    def _refill(self) -> None:
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def tell(self, error: OSError) -> None:
        """Put the shortage into the log, once."""
        if trio.current_time() >= self._told + SHORTAGE_TOLD_EVERY_S:
            self._told = trio.current_time()
            log.error("cannot accept: %s; those who wait longest are dropped", error.strerror)

    def spend_on(self, listener: socket.socket) -> bool:
        """Take one connection and close it; False when that could not be done."""
        self._refill()
        if self._descriptor is None:
            return False
        os.close(self._descriptor)
        self._descriptor = None
        try:
            listener.accept()[0].close()
        except OSError:
            return False
        finally:
            self._refill()
        return True

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
