"""A line: one TCP connection of a link that will see many.

Sending is tried at once, in the task that has something to send: that a keystroke need
not wait for another task is worth a fifth of its round trip. What the kernel does not
take now waits for :meth:`SocketLine.wait_writable`.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, Protocol

import trio

RECEIVE_SIZE: Final = 64 * 1024
SHORT: Final = 4 * 1024
"""A read that brought less than this has probably emptied the kernel's buffer: the next one
waits first, and a key's echo costs no read in vain."""

NOTSENT_LOWAT: Final = 16 * 1024
"""Bytes that wait unsent in the kernel before a line stops being writable. What has been
handed to the kernel can no longer be overtaken by a keystroke."""

USER_TIMEOUT_MS: Final = 20_000
"""Give a connection up when the far kernel has acknowledged nothing for this long."""

KERNEL_ASKS_AFTER_S: Final = 240
"""Silence after which our kernel asks the far one whether it is there: longer than any that
a living client keeps (rhythm.LONGEST_S), so that this is for clients that are gone. An answer
that does not come within USER_TIMEOUT_MS ends the connection (tcp(7))."""

KERNEL_ASKS_EVERY_S: Final = 30

_TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; Python names it from 3.12 on


CLOSED_HERE: Final = "closed on this side"

_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that arrived at an IPv6 socket (RFC 4291, 2.5.5.2)."""


class LineBroken(Exception):
    """The connection is gone. Says how, for people; it never means that a session is."""


class Line(Protocol):
    """What a link needs from a connection. Nothing here parses or seals."""

    @property
    def peer_name(self) -> str:
        """Where the connection leads, for logs and messages."""

    @property
    def source(self) -> str:
        """Who may be at the other end, as :func:`source_of` says."""

    def try_send(self, data: bytes | memoryview) -> int:
        """Hand bytes over without waiting; return how many were taken, maybe 0.

        Raises:
          LineBroken: the connection is gone.
        """

    def can_send(self) -> bool:
        """False while the kernel still holds enough that it has not sent."""

    async def wait_writable(self) -> None:
        """Wait until more can be sent. Cancellation leaves the line unchanged.

        Raises:
          LineBroken: the connection is gone.
        """

    async def receive(self) -> bytes:
        """Return some bytes, b"" at the end. Cancellation loses nothing.

        Raises:
          LineBroken: the connection is gone.
        """

    def shutdown(self) -> None:
        """Tell the peer that nothing more will come; receiving goes on."""

    def close(self) -> None:
        """Close the connection at once. Idempotent; wakes whoever waits on it."""


class SocketLine:
    """A line over a connected, non-blocking stream socket, which it owns."""

    def __init__(self, sock: socket.socket, peer_name: str = "") -> None:
        self._sock = sock
        self._peer_name = peer_name or _peer_name(sock)
        self.source = source_of(sock)
        self._receive_spins = 0
        self._dry = False
        sock.setblocking(False)
        _tune(sock)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLOUT)

    def __repr__(self) -> str:
        return f"<SocketLine {self._peer_name}>"

    @property
    def peer_name(self) -> str:
        return self._peer_name

    @property
    def peer_address(self) -> str:
        """The IP address at the other end; empty if it has none, or is gone."""
        try:
            name = self._sock.getpeername()
        except OSError:
            return ""
        is_ip = self._sock.family in (socket.AF_INET, socket.AF_INET6)
        return str(name[0]) if is_ip else ""

    def ask_after(self, seconds: int) -> None:
        """Have our kernel ask the far one after so much silence whether it is there; 0: never."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, seconds > 0)
            if seconds:
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)

    def try_send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LineBroken(_explain(error)) from error

    def can_send(self) -> bool:
        return bool(self._poll.poll(0))

    async def wait_writable(self) -> None:
        self._check_open()
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (OSError, trio.ClosedResourceError) as error:
            raise LineBroken(_explain(error)) from error

    async def receive(self) -> bytes:
        # A checkpoint now and then even if bytes are always there, so that a flood
        # on one line never starves the others; one in eight costs nothing measurable.
        self._receive_spins = (self._receive_spins + 1) % 8
        if self._receive_spins == 0 and not self._dry:
            await trio.lowlevel.checkpoint()
        try:
            while True:
                if self._dry:
                    self._check_open()
                    await trio.lowlevel.wait_readable(self._sock)
                try:
                    data = self._sock.recv(RECEIVE_SIZE)
                except BlockingIOError:
                    self._dry = True
                else:
                    self._dry = len(data) < SHORT
                    return data
        except (OSError, trio.ClosedResourceError) as error:
            raise LineBroken(_explain(error)) from error

    def _check_open(self) -> None:
        """Trio waits for no socket that was closed before; it raises a ValueError."""
        if self._sock.fileno() < 0:
            raise LineBroken(CLOSED_HERE)

    def shutdown(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


def source_of(sock: socket.socket) -> str:
    """Name what one stranger is taken for: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        name = sock.getpeername()
    except OSError:
        return "unknown"
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return "local"
    return source_of_host(str(name[0]))


def source_of_host(host: str) -> str:
    """The same for an IP address."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"


def _tune(sock: socket.socket) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # SO_LINGER off: closing never blocks (ET lingers 5 s, specification 1.9).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    if sys.platform == "linux":
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KERNEL_ASKS_AFTER_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KERNEL_ASKS_EVERY_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _peer_name(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "a closed connection"
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "a local connection"


def _explain(error: Exception) -> str:
    if isinstance(error, trio.ClosedResourceError) or getattr(error, "errno", 0) == errno.EBADF:
        return CLOSED_HERE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
