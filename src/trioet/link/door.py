"""The door: accept connections, read who is there, hand them on.

The router and a keeper that listens for itself use the same door. It holds no keys; it
reads one ConnectRequest from each connection, within a deadline, and asks where the
client id leads. Nothing that arrives here may do more than close its own connection.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, TypeAlias

import trio

from trioet.errors import FrameError, MessageError, PeerError
from trioet.link.line import source_of
from trioet.link.refusals import Refusals
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME
from trioet.wire.handshake import Handshake, connect_response_frame, relay_failure_frame
from trioet.wire.messages import (
    PROTOCOL_VERSION,
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    RelayFailure,
)

log = logging.getLogger(__name__)

DEADLINE_S: Final = 10.0
"""From accept to a whole ConnectRequest, however slowly it dribbles in."""

PARK_S: Final = 8.0
"""How long a client may wait for its keeper to register; then it is sent to try again."""

MAX_WAITING: Final = 512
"""Connections that have not said who they are; the oldest goes first."""

MAX_WAITING_PER_SOURCE: Final = 64

PENALISED_DEADLINE_S: Final = 2.0
PENALISED_WAITING: Final = 16
"""Time and room for a source that was refused often. Who comes to resume needs a round trip."""

HELD: Final = 16 * 1024
"""Receive buffer of a connection that has not said who it is. The kernel doubles it."""

ACCEPT_PAUSE_S: Final = 0.1
"""After accept failed for want of memory, or of a descriptor that nobody could give up."""

SHORTAGE_TOLD_EVERY_S: Final = 3600.0
"""How often a shortage of descriptors is told in the log, at most."""

_SO_BUF_LOCK: Final = 72
"""asm-generic/socket.h, Linux 5.14: whether a buffer's size is fixed, or the kernel's to tune."""

TLS_HANDSHAKE: Final = b"\x16\x03"
"""How a TLS connection begins: a record of type handshake, major version 3 (RFC 8446, 5.1)."""

_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE}

Arrival: TypeAlias = tuple[socket.socket, bytes]
"""A connection, and the bytes read from it so far: its ConnectRequest first."""


class Verdict(Enum):
    """What becomes of a client id."""

    DELIVERED = auto()
    """The connection was handed on; the door forgets it."""
    UNKNOWN = auto()
    """Nobody has this id: INVALID_KEY."""
    LATER = auto()
    """Its keeper may be about to register: ask again when something changed."""


Deliver: TypeAlias = Callable[[bytes, Arrival], Verdict]


class Door:
    """Accept on any number of listeners; deliver connections by their client id."""

    def __init__(
        self,
        deliver: Deliver,
        refusals: Refusals | None = None,
        in_tls: Callable[[socket.socket], Awaitable[None]] | None = None,
    ) -> None:
        """``in_tls`` takes connections that begin with TLS, within the same deadline, and raises
        PeerError or OSError if nothing comes of one; without it they are refused."""
        self.refusals = refusals or Refusals()
        self.accepted = 0
        self._deliver = deliver
        self._in_tls = in_tls
        self._waiting: dict[trio.CancelScope, str] = {}
        self._per_source: Counter[str] = Counter()
        self._changed = trio.lowlevel.ParkingLot()
        self._left = trio.lowlevel.ParkingLot()
        self._reserve = Reserve()

    def __repr__(self) -> str:
        return (
            f"<Door accepted={self.accepted} refused={self.refusals.count} "
            f"waiting={len(self._waiting)}>"
        )

    async def wait_empty(self) -> None:
        """Wait until nobody is in the door. Cancellation changes nothing."""
        while self._waiting:
            await self._left.park()

    def registrations_changed(self) -> None:
        """Ids came or went: parked clients are looked at again."""
        self._changed.unpark_all()

    async def serve(
        self, listener: socket.socket, accepting_scope: trio.CancelScope | None = None
    ) -> None:
        """Accept until cancelled. Closes the listener; whoever is in the door is dropped.

        Cancelling only ``accepting_scope`` closes the listener and lets those in the door
        finish.
        """
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            with listener, accepting_scope or trio.CancelScope():
                while True:
                    try:
                        connection, _ = await accept(listener)
                    except OSError as error:
                        await self.cannot_accept(listener, error)
                        continue
                    self.accepted += 1
                    nursery.start_soon(self._admit, connection)

    async def cannot_accept(self, listener: socket.socket, error: OSError) -> None:
        """Make room after accept(2) failed, or wait a little; then it may be tried again."""
        if error.errno in (errno.ECONNABORTED, errno.EPROTO):
            return
        self._reserve.tell(error)
        if error.errno in _OUT_OF_DESCRIPTORS:
            if self._waiting:
                self._drop_oldest("the door was full")
                await self._left.park()
                return
            if self._reserve.spend_on(listener):
                return
        await trio.sleep(ACCEPT_PAUSE_S)

    async def _admit(self, sock: socket.socket) -> None:
        source = source_of(sock)
        penalised = self.refusals.penalised(source)
        with trio.CancelScope() as scope:
            self._make_room(source, PENALISED_WAITING if penalised else MAX_WAITING_PER_SOURCE)
            self._waiting[scope] = source
            self._per_source[source] += 1
            deadline = PENALISED_DEADLINE_S if penalised else DEADLINE_S
            try:
                await self._greet(sock, source, deadline)
            except (PeerError, OSError) as error:
                self.refusals.note(source, error)
                sock.close()
            except trio.TooSlowError:
                self.refusals.note(source, f"no ConnectRequest within {deadline:g} s")
                sock.close()
            except trio.Cancelled:
                sock.close()
                raise
            finally:
                del self._waiting[scope]
                self._per_source[source] -= 1
                if not self._per_source[source]:
                    del self._per_source[source]
                self._left.unpark_all()

    def _make_room(self, source: str, allowed: int) -> None:
        if self._per_source[source] >= allowed:
            self._drop_oldest("too many from there were waiting", source)
        elif len(self._waiting) >= MAX_WAITING:
            self._drop_oldest("the door was full")

    def _drop_oldest(self, why: str, source: str | None = None) -> None:
        for scope, known in self._waiting.items():
            if not scope.cancel_called and source in (None, known):
                self.refusals.note(known, why, points=0)
                scope.cancel()
                return

    async def _greet(self, sock: socket.socket, source: str, deadline: float) -> None:
        with trio.fail_after(deadline):
            _hold_little(sock)
            if self._in_tls is not None and await _begins_with_tls(sock):
                await self._in_tls(sock)
                return
            request, preface = await _read_request(sock)
        if request.version != PROTOCOL_VERSION:
            _answer(sock, ConnectStatus.MISMATCHED_PROTOCOL, _mismatch(request.version))
            self.refusals.note(source, f"protocol version {request.version}")
            return
        verdict = self._try_to_deliver(request.client_id, (sock, preface))
        with trio.move_on_after(PARK_S):
            while verdict is Verdict.LATER:
                await self._changed.park()
                verdict = self._try_to_deliver(request.client_id, (sock, preface))
        match verdict:
            case Verdict.UNKNOWN if request.relay:
                # No word of the server's: the session behind the relay may be well.
                failure = RelayFailure(request.client_id, b"has no such relay", unknown=True)
                _send_and_close(sock, relay_failure_frame(failure))
                self.refusals.note(source, "its relay is not registered")
            case Verdict.UNKNOWN:
                _answer(sock, ConnectStatus.INVALID_KEY, b"Client is not registered")
                self.refusals.note(source, "its client id is not registered")
            case Verdict.LATER:
                # No status says "later". A close without an answer does: every client
                # takes it for a lost connection, and comes again.
                sock.close()

    def _try_to_deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        _hold_what_comes(arrival[0])
        verdict = self._deliver(client_id, arrival)
        if verdict is Verdict.LATER:
            _hold_little(arrival[0])
        return verdict


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


async def _begins_with_tls(sock: socket.socket) -> bool:
    """Look at the first bytes, and leave them there."""
    size = len(TLS_HANDSHAKE) + 1
    # Not readable before there are so many, or the end (socket(7)).
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    await trio.lowlevel.wait_readable(sock)
    head = sock.recv(size, socket.MSG_PEEK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    # The third is not 0 in any TLS, and 0 in the length of any ConnectRequest.
    return head.startswith(TLS_HANDSHAKE) and head[-1] != 0


async def _read_request(sock: socket.socket) -> tuple[ConnectRequest, bytes]:
    """Read until the ConnectRequest is whole; return it and every byte read."""
    handshake, preface = Handshake.server(), b""
    while True:
        try:
            data = sock.recv(MAX_HANDSHAKE_FRAME + HANDSHAKE_LENGTH.size - len(preface))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not data:
            raise FrameError("closed before a ConnectRequest was whole")
        preface += data
        for event in handshake.feed(data):
            if not isinstance(event, ConnectRequest):
                raise MessageError("something before a ConnectRequest")
            return event, preface


def _answer(sock: socket.socket, status: ConnectStatus, text: bytes) -> None:
    """Refuse, and close."""
    _send_and_close(sock, connect_response_frame(ConnectResponse(status, text)))


def _send_and_close(sock: socket.socket, answer: bytes) -> None:
    """Answer, and close. The answer fits any socket buffer; what does not is lost."""
    with suppress(OSError):
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)
    sock.close()


def _mismatch(version: int) -> bytes:
    """The text of specification 1.4, which `et` shows as it is."""
    return (
        "Mismatched protocol versions.  Your client & server must be on the same version "
        f"of ET.  Client: {version} != Server: {PROTOCOL_VERSION}"
    ).encode()


def _hold_little(sock: socket.socket) -> None:
    """Have the kernel keep little for a stranger, where that can be undone."""
    with suppress(OSError):
        sock.getsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD)


def _hold_what_comes(sock: socket.socket) -> None:
    """The receive buffer is the kernel's to tune again."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
