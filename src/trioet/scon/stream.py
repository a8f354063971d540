"""SconStream: a Trio stream to a backend behind an SCP server, goscon's or ours."""

from __future__ import annotations

import operator
from collections import deque
from typing import Final

import trio

from trioet.errors import SessionLost
from trioet.scon.calling import CallingLink
from trioet.scon.policy import Secure

MAX_UNREAD: Final = 256 * 1024
"""Bytes that came and were not read, beyond which no more are taken from the connection."""

PIECE: Final = 64 * 1024

FAIR: Final = 8
"""Pieces after which others have their turn."""


class SconStream(trio.abc.HalfCloseableStream):
    """Bytes that arrive once and in order, however many connections that takes.

    Made by :func:`trioet.scon.opening.open_scon_stream`, which owns its tasks. While there is no
    connection, ``send_all`` waits and nothing fails; ``BrokenResourceError`` means that the
    session is lost for good, and says why.

    goscon's own protocol knows no end of one direction: there ``send_eof`` is not told to the
    backend, and what is taken for the backend's end is that the server closes a connection and
    then knows nothing of the session. A sealed session says both.
    """

    def __init__(
        self, *, flags: int, secure: Secure, psk: bytes, max_kept: int, close_timeout: float
    ) -> None:
        """Not public: open_scon_stream makes streams."""
        self.close_timeout = close_timeout
        """Seconds that :meth:`aclose` waits at most for the server to have everything."""
        self.link = CallingLink(self, flags=flags, secure=secure, psk=psk, max_kept=max_kept)
        """What carries the bytes. Its counts and states may be read."""
        self.closed = trio.Event()
        """Set when :meth:`aclose` has done what it could: the link is of no more use."""
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._ended = False
        self._closing = False
        self._said_end = False
        self._lost: SessionLost | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._sending = _OneAtATime("another task is sending on this stream")
        self._receiving = _OneAtATime("another task is receiving from this stream")

    def __repr__(self) -> str:
        return f"<SconStream {self.link!r}>"

    # Its user's side

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; return when it is on its way, or kept for the next connection.

        Cancellation: some first part of it was sent, and will arrive.

        Raises:
          trio.BrokenResourceError: the session is lost.
          trio.BusyResourceError: another task sends.
          trio.ClosedResourceError: this side was closed, or has sent its end.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            view = memoryview(data).cast("B")
            for number, start in enumerate(range(0, len(view), PIECE), 1):
                await self._wait_room()
                self.link.send(bytes(view[start : start + PIECE]))
                if not number % FAIR:
                    await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until ``send_all`` of a byte would return at once. Cancellation changes nothing.

        Raises:
          as :meth:`send_all`.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._wait_room()

    async def send_eof(self) -> None:
        """Nothing more will be sent; receiving goes on.

        Raises:
          trio.BusyResourceError: another task sends.
          trio.ClosedResourceError: this side was closed.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._closing:
                raise trio.ClosedResourceError("this side was closed")
            self._say_end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one byte, at most ``max_bytes``; b"" when the backend has ended.

        What arrived before an error is returned before it is raised. Cancellation loses nothing.

        Raises:
          trio.BrokenResourceError: the session is lost.
          trio.BusyResourceError: another task receives.
          trio.ClosedResourceError: this side was closed.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closing:
                    raise trio.ClosedResourceError("this side was closed")
                if self._unread:
                    return self._take(max_bytes)
                if self._ended:
                    return b""
                if self._lost is not None:
                    raise trio.BrokenResourceError(str(self._lost)) from self._lost
                await self._changed.park()

    async def aclose(self) -> None:
        """Close the stream; return when the server has everything that was sent.

        Waits for :attr:`close_timeout` seconds at most. Cancellation, and so
        ``trio.aclose_forcefully``, does not wait, and closes it all the same.
        """
        if self._closing:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        self._changed.unpark_all()
        self.link.wake()
        if self.link.established and self._lost is None:
            self._say_end()
            self.link.send_over()
        try:
            with trio.move_on_after(self.close_timeout):
                await trio.lowlevel.checkpoint()
                await self._wait_delivered()
        finally:
            self.closed.set()

    async def _wait_delivered(self) -> None:
        if not self.link.established:
            return
        try:
            if self.link.sealed:
                await self.link.wait_acknowledged()
            else:
                await self.link.wait_read()
        except SessionLost:
            return

    def _say_end(self) -> None:
        if not self._said_end:
            self._said_end = True
            self.link.send_end()

    def _check_sending(self) -> None:
        if self._closing or self._said_end:
            raise trio.ClosedResourceError("this side was closed, or has sent its end")
        if self._lost is not None:
            raise trio.BrokenResourceError(str(self._lost)) from self._lost

    async def _wait_room(self) -> None:
        while True:
            self._check_sending()
            if self.link.has_room():
                return
            await self.link.wait_change()

    def _take(self, max_bytes: int | None) -> bytes:
        data = self._unread.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self._unread.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._unread_bytes -= len(data)
        self._changed.unpark_all()
        return data

    # Its link's side

    def arrived(self, data: bytes) -> None:
        """Bytes of the backend's."""
        self._unread.append(data)
        self._unread_bytes += len(data)
        self._changed.unpark_all()

    def ended(self) -> None:
        """The backend will send no more."""
        self._ended = True
        self._changed.unpark_all()

    def heard(self) -> None:
        """Of no interest here."""

    def lose(self, why: SessionLost) -> None:
        """The session is over, and this is why."""
        self._lost = why
        self.link.lose(why)
        self._changed.unpark_all()

    async def ready(self) -> None:
        """Return when there is room for more. Cancellation changes nothing."""
        while self._unread_bytes > MAX_UNREAD and not self._closing:
            await self._changed.park()
        if self._closing:
            self._unread.clear()
            self._unread_bytes = 0


class _OneAtATime:
    """Tell a second task that there is a first."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._words)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
