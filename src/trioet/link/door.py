"""The door: accept connections, read who is there, hand them on.

The router and a keeper that listens for itself use the same door. It holds no keys; it
reads one ConnectRequest from each connection, within a deadline, and asks where the
client id leads. Nothing that arrives here may do more than close its own connection.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, TypeAlias

import trio

from trioet.errors import FrameError, MessageError, PeerError
from trioet.link.accepting import WaitingRoom, accept
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

HELD: Final = 16 * 1024
"""Receive buffer of a connection that has not said who it is. The kernel doubles it."""

_SO_BUF_LOCK: Final = 72
"""asm-generic/socket.h, Linux 5.14: whether a buffer's size is fixed, or the kernel's to tune."""

TLS_HANDSHAKE: Final = b"\x16\x03"
"""How a TLS connection begins: a record of type handshake, major version 3 (RFC 8446, 5.1)."""

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
        self.room = WaitingRoom(self.refusals)
        self.accepted = 0
        self._deliver = deliver
        self._in_tls = in_tls
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return (
            f"<Door accepted={self.accepted} refused={self.refusals.count} "
            f"waiting={len(self.room)}>"
        )

    async def wait_empty(self) -> None:
        """Wait until nobody is in the door. Cancellation changes nothing."""
        await self.room.wait_empty()

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
                        await self.room.cannot_accept(listener, error)
                        continue
                    self.accepted += 1
                    nursery.start_soon(self._admit, connection)

    async def _admit(self, sock: socket.socket) -> None:
        source = source_of(sock)
        with self.room.seat(source):
            deadline = self.room.patience(source, DEADLINE_S)
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
