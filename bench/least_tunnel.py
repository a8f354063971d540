"""The least that a tunnel on Trio can be: all its connections through one, and nothing else.

No key, no credit, no refusal, no half-close, no end that is told from a reset. Nobody waits
for a destination to be connected: what a connection says goes there with its number, and
the far side connects when it first hears of that. How many connections a second can come
and go this way, no program on Trio surpasses by much.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import trio

CHUNK = 65536
HEAD = struct.Struct(">II")
"""Number of the connection, and how many bytes of it follow; none: its end."""


class Tunnel:
    """One side of it. The one that listens gives the numbers."""

    def __init__(self, line: socket.socket, nursery: trio.Nursery, leads_to: int) -> None:
        self._line = line
        self._nursery = nursery
        self._leads_to = leads_to
        self._sockets: dict[int, socket.socket] = {}
        self._backlog: deque[bytes] = deque()

    async def listen(self, port: int) -> None:
        """Carry whoever connects there."""
        with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
            listener.setblocking(False)
            number = 0
            while True:
                await trio.lowlevel.wait_readable(listener)
                sock, _ = listener.accept()
                number += 1
                self._carry(number, sock)

    def _carry(self, number: int, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[number] = sock
        self._nursery.start_soon(self._read, number, sock)

    async def _read(self, number: int, sock: socket.socket) -> None:
        data = b"-"
        with suppress(trio.ClosedResourceError):  # the other side has ended it
            while data:
                await trio.lowlevel.wait_readable(sock)
                data = sock.recv(CHUNK)
                self._send(HEAD.pack(number, len(data)) + data)
            del self._sockets[number]
            sock.close()

    def _send(self, data: bytes) -> None:
        taken = 0 if self._backlog else self._line.send(data)
        if taken < len(data):
            self._backlog.append(data[taken:])

    async def run(self) -> None:
        """Take what the other side sends, until it is gone."""
        data = b""
        while True:
            await trio.lowlevel.wait_readable(self._line)
            more = self._line.recv(CHUNK)
            if not more:
                return
            data += more
            for number, said, rest in _frames(data):
                data = rest
                self._take(number, said)
            while self._backlog:
                self._line.send(self._backlog.popleft())

    def _take(self, number: int, said: bytes) -> None:
        sock = self._sockets.get(number)
        if sock is None:
            if not said:
                return
            self._carry(number, sock := socket.create_connection(("127.0.0.1", self._leads_to)))
        if said:
            sock.send(said)
        else:
            del self._sockets[number]
            trio.lowlevel.notify_closing(sock)
            sock.close()


def _frames(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    while len(data) >= HEAD.size:
        number, size = HEAD.unpack_from(data)
        if len(data) < HEAD.size + size:
            return
        said, data = data[HEAD.size : HEAD.size + size], data[HEAD.size + size :]
        yield number, said, data


async def run(line: socket.socket, *, listens: int, leads_to: int) -> None:
    """Be a side of a tunnel: the one that listens on a port, or the one that it leads to."""
    line.setblocking(False)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with trio.open_nursery() as nursery:
        tunnel = Tunnel(line, nursery, leads_to)
        if listens:
            nursery.start_soon(tunnel.listen, listens)
        await tunnel.run()
        nursery.cancel_scope.cancel()
