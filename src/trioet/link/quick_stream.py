"""A Trio stream over a socket that asks the kernel itself: for what relays keys.

`trio.SocketStream` goes through four calls of Trio's for every read, tries to read before it
waits, and passes two checkpoints for every message that it sends: 10 to 15 µs each time, of the
35 µs that a key costs at every task that it wakes (measured). In the same way
:class:`trioet.link.line.SocketLine` does without.
"""

from __future__ import annotations

import socket

import trio

from trioet.link.line import RECEIVE_SIZE


class QuickStream(trio.abc.HalfCloseableStream):
    """A connected, non-blocking stream socket, which it owns.

    Unlike Trio's own it passes no checkpoint where it sends all at once.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._dry = True

    def __repr__(self) -> str:
        return f"<QuickStream {self.socket!r}>"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._dry:
            await trio.lowlevel.checkpoint()
        size = max_bytes or RECEIVE_SIZE
        try:
            while True:
                if self._dry:
                    self._check_open()
                    await trio.lowlevel.wait_readable(self.socket)
                try:
                    data = self.socket.recv(size)
                except BlockingIOError:
                    self._dry = True
                else:
                    self._dry = len(data) < size  # so that the next read is not in vain
                    return data
        except OSError as error:
            raise self._lost() from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self.socket.send(rest) :]
                except BlockingIOError:
                    await self.wait_send_all_might_not_block()
        except OSError as error:
            raise self._lost() from error

    async def wait_send_all_might_not_block(self) -> None:
        self._check_open()
        await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._lost() from error

    async def aclose(self) -> None:
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        """Trio waits for no socket that was closed before; it raises a ValueError."""
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError

    def _lost(self) -> Exception:
        return (
            trio.ClosedResourceError("closed on this side")
            if self.socket.fileno() < 0
            else trio.BrokenResourceError("the connection is lost")
        )
