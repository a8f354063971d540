"""KCP for a SconServer: a UDP socket, and on it as many conversations as there are clients.

A conversation is presented to the server as one end of a socket pair, so it is a connection
like any other there: a session that began over TCP is resumed over KCP and back, and one that
another process holds is handed over as ever (:mod:`trioet.scon.seats`).

Nothing is said to whoever sends what is no KCP, or is of no conversation: only the first data
of one, from a source that has room, begins it. KCP has no word for an end. A conversation
ends when the server is done with it and everything was acknowledged, or when nothing has
come for ``read_timeout``.
"""

from __future__ import annotations

import heapq
import logging
import math
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final, TypeAlias

import trio

from trioet.errors import FrameError
from trioet.link.line import LineBroken, source_of_host
from trioet.scon.kcp_conversation import Conversation
from trioet.scon.kcp_option import MAX_DATAGRAM, KcpOption
from trioet.scon.server import SconServer
from trioet.scon.visitor import Visitor
from trioet.wire.kcp_segments import Segment, segments

log = logging.getLogger(__name__)

UNPROVEN_S: Final = 10.0
"""Who has not shown within this time that it gets what we send is forgotten."""

CHUNK: Final = 16 * 1024
"""Bytes that are taken from the server at once: far fewer pieces than ikcp's 127."""

BURST: Final = 64
"""Datagrams that are read before others have their turn."""

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


class _Guest:
    """A conversation, with its end of the socket pair."""

    def __init__(
        self, conversation: Conversation, address: Address, source: str, sock: socket.socket
    ) -> None:
        self.conversation = conversation
        self.address = address
        self.source = source
        self.sock = sock
        self.scope = trio.CancelScope()
        self.begun = self.heard = trio.current_time()
        self.due = math.inf
        """When its timer goes off."""
        self.changed = trio.lowlevel.ParkingLot()
        """Woken when something came, or something is over."""
        self.unread = b""
        """Of what came, what the server has not taken yet."""
        self.ended = False

    @property
    def key(self) -> tuple[Address, int]:
        return self.address, self.conversation.number

    async def wait_proven(self) -> None:
        while not self.conversation.proven:
            if self.ended:
                raise LineBroken("its address was not proven")
            await self.changed.park()


class KcpListener:
    """Serves a server's clients over KCP on one UDP socket."""

    def __init__(self, server: SconServer, option: KcpOption) -> None:
        self._server = server
        self._option = option
        self._guests: dict[tuple[Address, int], _Guest] = {}
        self._of_source: Counter[str] = Counter()
        self._timers: list[tuple[float, int, _Guest]] = []
        self._ticket = count()
        self._sooner = trio.Event()

    def __repr__(self) -> str:
        return f"<KcpListener conversations={len(self._guests)}>"

    @property
    def conversations(self) -> int:
        """How many there are."""
        return len(self._guests)

    async def serve(self, sock: socket.socket, accepting: trio.CancelScope | None = None) -> None:
        """Serve until cancelled; closes the socket. Sessions that began here end with it.

        Cancelling only ``accepting`` ends the conversations; this returns when the sessions that
        began here are over, wherever their clients are by then.
        """
        sock.setblocking(False)
        for name, size in (
            (socket.SO_RCVBUF, self._option.read_buffer),
            (socket.SO_SNDBUF, self._option.write_buffer),
        ):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, name, size)
        async with trio.open_nursery() as admitted:
            with sock, accepting or trio.CancelScope():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_time, sock)
                    await self._listen(sock, nursery, admitted)

    async def _listen(
        self, sock: socket.socket, nursery: trio.Nursery, admitted: trio.Nursery
    ) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            touched: dict[_Guest, None] = {}
            for _ in range(BURST):
                try:
                    datagram, address = sock.recvfrom(MAX_DATAGRAM + 1)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # what an earlier datagram of ours met (ip(7)): it was lost
                guest = self._take(datagram, address, sock, nursery, admitted)
                if guest is not None:
                    touched[guest] = None
            for guest in touched:
                self._deliver(guest)
                self._flush(guest, sock)
                guest.changed.unpark_all()

    def _take(
        self,
        datagram: bytes,
        address: Address,
        sock: socket.socket,
        nursery: trio.Nursery,
        admitted: trio.Nursery,
    ) -> _Guest | None:
        """Give a datagram to its conversation, which may be a new one."""
        if len(datagram) > MAX_DATAGRAM:
            return None
        try:
            found = segments(datagram)
        except FrameError:
            return None
        guest = self._guests.get((address, found[0].conversation))
        if guest is None:
            guest = self._welcome(found, address, sock, nursery, admitted)
        if guest is not None:
            guest.heard = trio.current_time()
            guest.conversation.input(datagram, found, guest.heard)
        return guest

    def _welcome(
        self,
        found: Sequence[Segment],
        address: Address,
        sock: socket.socket,
        nursery: trio.Nursery,
        admitted: trio.Nursery,
    ) -> _Guest | None:
        """Begin a conversation, if that is what a datagram wants, and there is room."""
        if not found[0].begins or len(self._guests) >= self._option.max_connections:
            return None
        source = source_of_host(address[0])
        if self._of_source[source] >= self._option.max_connections_per_source:
            return None
        try:
            ours, its = socket.socketpair()
        except OSError:
            return None
        ours.setblocking(False)
        conversation = Conversation(found[0].conversation, self._option, trio.current_time())
        guest = _Guest(conversation, address, source, ours)
        self._guests[guest.key] = guest
        self._of_source[source] += 1
        visitor = Visitor(address[:2], sock.getsockname()[:2], source, guest.wait_proven)
        admitted.start_soon(self._server.admit, its, b"", visitor)
        nursery.start_soon(self._attend, guest, sock)
        return guest

    async def _attend(self, guest: _Guest, sock: socket.socket) -> None:
        """Carry bytes between a conversation and the server, until either is done."""
        try:
            with guest.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump_up, guest, sock)
                    await self._pump_down(guest, sock)
                    while guest.conversation.waiting:
                        await guest.changed.park()
                    nursery.cancel_scope.cancel()
        finally:
            guest.ended = True
            guest.sock.close()
            del self._guests[guest.key]
            self._of_source[guest.source] -= 1
            if not self._of_source[guest.source]:
                del self._of_source[guest.source]
            guest.changed.unpark_all()

    async def _pump_down(self, guest: _Guest, sock: socket.socket) -> None:
        """From the server to the client, until the server says no more."""
        conversation = guest.conversation
        while True:
            while not conversation.has_room:
                await guest.changed.park()
            await trio.lowlevel.wait_readable(guest.sock)
            try:
                data = guest.sock.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                return  # the server has closed it, and left something unread
            if not data:
                return
            conversation.send(data)
            if self._option.opt_writedelay:
                self._set_timer(guest, trio.current_time() + self._option.opt_interval / 1000)
            else:
                self._flush(guest, sock)

    async def _pump_up(self, guest: _Guest, sock: socket.socket) -> None:
        """From the client to the server, what the server could not take at once."""
        while True:
            while not guest.unread:
                await guest.changed.park()
            await trio.lowlevel.wait_writable(guest.sock)
            self._deliver(guest)
            self._flush(guest, sock)  # the client may have been told to wait

    def _deliver(self, guest: _Guest) -> None:
        """Hand what came to the server, as far as it takes it: the rest is ikcp's to keep."""
        while not guest.ended:
            guest.unread = guest.unread or guest.conversation.received()
            if not guest.unread:
                return
            try:
                guest.unread = guest.unread[guest.sock.send(guest.unread) :]
            except BlockingIOError:
                return
            except OSError:
                guest.unread = b""  # the server wants nothing more; what it said still goes

    def _flush(self, guest: _Guest, sock: socket.socket) -> None:
        if not guest.ended:
            now = trio.current_time()
            self._send(guest, guest.conversation.flush(now), sock)
            self._schedule(guest, now)

    def _send(self, guest: _Guest, datagrams: Sequence[bytes], sock: socket.socket) -> None:
        for datagram in datagrams:
            with suppress(OSError):  # as if it were lost on its way
                sock.sendto(datagram, guest.address)

    # Time

    def _deadline(self, guest: _Guest) -> float:
        """When a guest is given up if nothing comes."""
        deadline = guest.heard + self._option.read_timeout
        return deadline if guest.conversation.proven else min(deadline, guest.begun + UNPROVEN_S)

    def _schedule(self, guest: _Guest, now: float) -> None:
        due = self._deadline(guest)
        if guest.conversation.waiting:
            due = min(due, now + self._option.opt_interval / 1000)
        self._set_timer(guest, due)

    def _set_timer(self, guest: _Guest, due: float) -> None:
        """Have a guest's timer go off by then; a later one that was set is forgotten.

        One that is sooner goes off for nothing: so somebody who says much costs no more timers.
        """
        if due < guest.due:
            guest.due = due
            heapq.heappush(self._timers, (due, next(self._ticket), guest))
            if self._timers[0][2] is guest:
                self._sooner.set()

    async def _keep_time(self, sock: socket.socket) -> None:
        while True:
            self._sooner = trio.Event()
            with trio.move_on_at(self._timers[0][0] if self._timers else math.inf):
                await self._sooner.wait()
            now = trio.current_time()
            while self._timers and self._timers[0][0] <= now:
                due, _, guest = heapq.heappop(self._timers)
                if due == guest.due and not guest.ended:
                    guest.due = math.inf
                    self._tick(guest, now, sock)

    def _tick(self, guest: _Guest, now: float, sock: socket.socket) -> None:
        if guest.conversation.dead or now >= self._deadline(guest):
            log.debug("%s: nothing came for too long", guest.conversation)
            guest.scope.cancel()
            return
        self._flush(guest, sock)
