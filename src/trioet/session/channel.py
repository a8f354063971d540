"""One forwarded connection: a socket on this side, a channel of the link beyond it.

One task reads the socket for the peer; another, when there is need of it, writes what the
socket did not take at once. What an application does not read costs the channel's credit,
and nobody else's.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol

import trio

from trioet.session.destinations import reset
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelReset,
)

FIRST_CREDIT: Final = 256 * 1024
"""Bytes that a peer may send on a new channel before the application has read any."""

MOST_CREDIT: Final = 4 * 1024 * 1024
"""What that grows to while the application keeps up: 40 MB/s over 100 ms of round trip."""


class Traffic:
    """What went through a tunnel, in bytes, and how many channels it has."""

    def __init__(self, tunnel: str) -> None:
        """``tunnel`` is its name, for messages."""
        self.tunnel = tunnel
        self.sent = 0
        self.received = 0
        self.channels = 0


class Carrier(Protocol):
    """What a channel needs of its session."""

    half_close: bool
    credit: bool
    turn: trio.Lock
    """Who holds it sends the next packet of bulk. It goes round: those who wait get it in the
    order in which they came."""

    def say(self, message: ChannelMessage) -> None:
        """Tell the peer, at once."""

    async def wait_room(self) -> int:
        """Wait until bulk may be sent; return how many bytes at most."""

    def say_bulk(self, message: ChannelData) -> None:
        """Tell the peer, when it is our turn and there is room."""

    def together(self) -> AbstractContextManager[None]:
        """What is told within goes out in one piece."""

    def may_grow(self, amount: int) -> bool:
        """Take so much more memory, if the session has it; less always."""

    def unread(self, change: int) -> None:
        """So much more, or less, waits for applications to read it."""


class Channel:
    """A connected stream socket, which it owns, and the channel with that number."""

    def __init__(
        self, number: int, sock: socket.socket, carrier: Carrier, traffic: Traffic
    ) -> None:
        self.number = number
        self._sock = sock
        self._carrier = carrier
        self._traffic = traffic
        self._credit = 0
        self._credited = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._backlog: deque[memoryview] = deque()
        self._unread = 0
        self._window = FIRST_CREDIT
        self._owed = 0
        """Bytes that the application has taken, and the peer has no credit for again."""
        self._ahead = b""
        """What the application said before the channel was opened."""
        self._ends = False
        self._in_order = False
        self._nursery: trio.Nursery | None = None
        self._writing = False
        self.said_all = trio.Event()
        """Set when the peer was told all that the application will ever say."""
        self._nothing_more = trio.Event()
        """Set when the application has all that the peer will ever say."""

    def __repr__(self) -> str:
        return f"<Channel {self.number} credit={self._credit} unread={self._unread}>"

    @property
    def tunnel(self) -> str:
        """The name of its tunnel."""
        return self._traffic.tunnel

    @property
    def in_order(self) -> bool:
        """True once both directions have come to their end; False after a reset."""
        return self._in_order

    @property
    def unread(self) -> int:
        """Bytes that wait for the application."""
        return self._unread

    def begin_with(self, data: bytes) -> None:
        """Tell the peer this first: it has been read from the socket already."""
        self._ahead = data

    # What the peer says

    def arrived(self, data: bytes | memoryview) -> None:
        """Hand bytes to the application, now if it takes them; not before :meth:`run`."""
        self._traffic.received += len(data)
        rest = memoryview(data)
        if self._nursery is not None and not self._backlog:
            with suppress(OSError):  # the writer meets it again, and deals with it
                taken = self._sock.send(rest)
                rest = rest[taken:]
                self._took(taken)
        if rest:
            self._backlog.append(rest)
            self._unread += len(rest)
            self._carrier.unread(len(rest))
            self._attend()
            if self._carrier.credit and self._unread > self._window:
                self.abort()  # it sends more than it may

    def credited(self, amount: int) -> None:
        """The peer takes so many bytes more."""
        self._credit += amount
        self._credited.unpark_all()

    def ended(self) -> None:
        """Nothing more comes from the peer."""
        self._ends = True
        self._attend()

    def was_reset(self) -> None:
        """The peer's side is gone: so is this one."""
        self._scope.cancel()

    def abort(self) -> None:
        """End both sides."""
        self._carrier.say(ChannelReset(self.number))
        self._scope.cancel()

    # Its life

    async def run(self) -> None:
        """Carry bytes both ways until both ends are over, or one is gone.

        Closes the socket. Cancellation resets the connection and tells the peer nothing.
        """
        self._traffic.channels += 1
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._converse(nursery)
                self._in_order = True
        except* OSError:
            self._carrier.say(ChannelReset(self.number))
        finally:
            self._traffic.channels -= 1
            self._carrier.unread(-self._unread)
            self._carrier.may_grow(FIRST_CREDIT - self._window)
            if self._in_order:
                self._sock.close()
            else:
                reset(self._sock)

    async def _converse(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        try:
            self._flush()
            self._attend()
            await self._read()
            self.said_all.set()
            if not self._carrier.half_close:
                self._finish()
            await self._nothing_more.wait()
        finally:
            self._nursery = None  # it takes no more tasks

    def _finish(self) -> None:
        """The end of one direction is the end of both."""
        self._in_order = True
        self._scope.cancel()

    async def _read(self) -> None:
        """Read for the peer until the application has no more to say."""
        more = True  # what the application has said by now goes at once
        while True:
            while self._credit <= 0:
                await self._credited.park()
            if not more and not self._ahead:
                await trio.lowlevel.wait_readable(self._sock)
            async with self._carrier.turn:
                size = min(await self._carrier.wait_room(), self._credit)
                try:
                    data = self._receive(size)
                except BlockingIOError:
                    more = False
                    continue
                more = len(data) == size
                with self._carrier.together():
                    if data:
                        self._credit -= len(data)
                        self._traffic.sent += len(data)
                        self._carrier.say_bulk(ChannelData(self.number, data))
                    if not data or (not more and self._has_said_all()):
                        self._carrier.say(ChannelEnd(self.number))
                        return

    def _receive(self, size: int) -> bytes:
        if not self._ahead:
            return self._sock.recv(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _has_said_all(self) -> bool:
        """True if it is known by now that nothing more comes from the application."""
        with suppress(BlockingIOError):
            return not self._ahead and not self._sock.recv(1, socket.MSG_PEEK)
        return False

    def _attend(self) -> None:
        """See to what the peer has said, if that can be done now and nobody does."""
        if self._nursery is None or self._writing:
            return
        if self._backlog:
            self._writing = True
            self._nursery.start_soon(self._write)
        elif self._ends:
            self._end_output()

    async def _write(self) -> None:
        """Write what the application did not take at once."""
        while self._backlog:
            await trio.lowlevel.wait_writable(self._sock)
            self._flush()
        self._writing = False
        self._attend()

    def _end_output(self) -> None:
        if not self._carrier.half_close:
            self._finish()
        with suppress(OSError):  # the application has closed its end before
            self._sock.shutdown(socket.SHUT_WR)
        self._nothing_more.set()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._backlog:
                taken = self._sock.send(self._backlog[0])
                self._unread -= taken
                self._carrier.unread(-taken)
                self._backlog[0] = self._backlog[0][taken:]
                if not self._backlog[0]:
                    self._backlog.popleft()
                self._took(taken)

    def _took(self, amount: int) -> None:
        """The application has taken bytes: let the peer send as many again, and more if it
        takes all as it comes."""
        if not self._carrier.credit:
            return
        self._owed += amount
        if self._owed < self._window // 4 or self._ends:
            return
        growth = min(self._window, MOST_CREDIT - self._window)
        if growth and not self._backlog and self._carrier.may_grow(growth):
            self._window += growth
            self._owed += growth
        self._carrier.say(ChannelCredit(self.number, self._owed))
        self._owed = 0
