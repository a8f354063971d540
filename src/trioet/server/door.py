"""The door: accept connections, read who is there, hand them on.

The router and a keeper that listens for itself use the same door. It holds no keys; it
reads one ConnectRequest from each connection, within a deadline, and asks where the
client id leads. Nothing that arrives here may do more than close its own connection.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, TypeAlias

import trio

from trioet.errors import FrameError, MessageError, PeerError
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME
from trioet.wire.handshake import Handshake, connect_response_frame
from trioet.wire.messages import (
    PROTOCOL_VERSION,
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
)

log = logging.getLogger(__name__)

DEADLINE_S: Final = 10.0
"""From accept to a whole ConnectRequest, however slowly it dribbles in."""

PARK_S: Final = 8.0
"""How long a client may wait for its keeper to register; then it is sent to try again."""

MAX_WAITING: Final = 512
"""Connections that have not said who they are; the oldest goes first."""

MAX_WAITING_PER_SOURCE: Final = 64

ACCEPT_PAUSE_S: Final = 0.1
"""After accept failed for want of descriptors or memory."""

_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

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

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._waiting: dict[trio.CancelScope, str] = {}
        self._per_source: Counter[str] = Counter()
        self._changed = trio.lowlevel.ParkingLot()
        self._left = trio.lowlevel.ParkingLot()
        self.accepted = 0
        self.refused = 0

    def __repr__(self) -> str:
        return (
            f"<Door accepted={self.accepted} refused={self.refused} waiting={len(self._waiting)}>"
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
        accepting = trio.socket.from_stdlib_socket(listener)
        async with trio.open_nursery() as nursery:
            with accepting, accepting_scope or trio.CancelScope():
                while True:
                    try:
                        connection, _ = await accepting.accept()
                    except OSError as error:
                        if error.errno in _EXHAUSTED:
                            log.error("cannot accept: %s", error.strerror)
                            await trio.sleep(ACCEPT_PAUSE_S)
                        elif error.errno not in (errno.ECONNABORTED, errno.EPROTO):
                            log.warning("accept: %s", error.strerror)
                        continue
                    self.accepted += 1
                    nursery.start_soon(self._admit, _plain(connection))

    async def _admit(self, sock: socket.socket) -> None:
        source = _source(sock)
        with trio.CancelScope() as scope:
            self._make_room(source)
            self._waiting[scope] = source
            self._per_source[source] += 1
            try:
                await self._greet(sock)
            except (PeerError, OSError) as error:
                self.refused += 1
                log.info("refused %s: %s", source, error)
                sock.close()
            except trio.TooSlowError:
                self.refused += 1
                log.info("refused %s: no ConnectRequest within %g s", source, DEADLINE_S)
                sock.close()
            finally:
                del self._waiting[scope]
                self._per_source[source] -= 1
                if not self._per_source[source]:
                    del self._per_source[source]
                self._left.unpark_all()
        if scope.cancelled_caught:
            sock.close()

    def _make_room(self, source: str) -> None:
        if self._per_source[source] >= MAX_WAITING_PER_SOURCE:
            oldest = next(scope for scope, known in self._waiting.items() if known == source)
            oldest.cancel()
        elif len(self._waiting) >= MAX_WAITING:
            next(iter(self._waiting)).cancel()

    async def _greet(self, sock: socket.socket) -> None:
        with trio.fail_after(DEADLINE_S):
            request, preface = await _read_request(sock)
        if request.version != PROTOCOL_VERSION:
            _answer(sock, ConnectStatus.MISMATCHED_PROTOCOL, _mismatch(request.version))
            self.refused += 1
            return
        verdict = self._deliver(request.client_id, (sock, preface))
        with trio.move_on_after(PARK_S):
            while verdict is Verdict.LATER:
                await self._changed.park()
                verdict = self._deliver(request.client_id, (sock, preface))
        match verdict:
            case Verdict.UNKNOWN:
                _answer(sock, ConnectStatus.INVALID_KEY, b"Client is not registered")
                self.refused += 1
            case Verdict.LATER:
                # No status says "later". A close without an answer does: every client
                # takes it for a lost connection, and comes again.
                sock.close()


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
    """Refuse, and close. The answer fits any socket buffer; what does not is lost."""
    with suppress(OSError):
        sock.send(connect_response_frame(ConnectResponse(status, text)))
        sock.shutdown(socket.SHUT_WR)
    sock.close()


def _mismatch(version: int) -> bytes:
    """The text of specification 1.4, which `et` shows as it is."""
    return (
        "Mismatched protocol versions.  Your client & server must be on the same version "
        f"of ET.  Client: {version} != Server: {PROTOCOL_VERSION}"
    ).encode()


def _plain(connection: trio.socket.SocketType) -> socket.socket:
    """The same connection as a plain non-blocking socket, to be handed on."""
    sock = socket.socket(connection.family, connection.type, connection.proto, connection.detach())
    sock.setblocking(False)
    return sock


def _source(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "unknown"
    return str(name[0]) if isinstance(name, tuple) and name else "local"
