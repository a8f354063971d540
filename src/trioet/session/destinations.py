"""Connect to where a channel leads: names are resolved on this side, with this user's rights.

Nothing here waits on the session's path: each connection is made by a task of its own,
within a deadline. What fails is told in the words that the application would have heard,
had it connected from here itself.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.errors import LocalError
from trioet.wire.forward import LOOPBACK, Address, Endpoint, UnixPath
from trioet.wire.reach import Failure

CONNECT_DEADLINE_S: Final = 30.0
"""For the name and all its addresses together. The kernel alone would try two minutes."""

LOOPBACK_PATIENCE_S: Final = 0.2
"""After that its two addresses are raced, as any: one may have its queue full."""

_FAILURES: Final = {
    errno.ECONNREFUSED: Failure.REFUSED,
    errno.ENOENT: Failure.REFUSED,
    errno.ENOTDIR: Failure.REFUSED,
    errno.EAGAIN: Failure.REFUSED,
    errno.EACCES: Failure.NOT_ALLOWED,
    errno.EPERM: Failure.NOT_ALLOWED,
    errno.EHOSTUNREACH: Failure.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Failure.HOST_UNREACHABLE,
    errno.ENETUNREACH: Failure.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Failure.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: Failure.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: Failure.NETWORK_UNREACHABLE,
    errno.ETIMEDOUT: Failure.TIMED_OUT,
}

_LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""struct linger, socket(7): on, for no time. What was not sent is dropped, and RST says so."""


class CannotReach(LocalError):
    """No connection to a destination. ``failure`` says why to programs, the text to people."""

    def __init__(self, failure: Failure, why: str) -> None:
        super().__init__(failure, why)
        self.failure = failure
        self.why = why

    def __str__(self) -> str:
        return self.why


async def connect(where: Endpoint, *, deadline_s: float = CONNECT_DEADLINE_S) -> socket.socket:
    """Connect to ``where``, to whichever of its addresses answers first (RFC 8305).

    Return a plain non-blocking socket; a TCP socket sends at once (TCP_NODELAY).
    Cancellation leaves nothing open; a name that is being resolved is left to its thread.

    Raises:
      CannotReach: no address answered, and why; of several reasons the one that tells most.
          When the deadline passes while an address may still answer, that is the reason.
    """
    match where:
        case Address():
            return await _in_time(deadline_s, lambda: _connect_tcp(where))
        case UnixPath():
            return await _in_time(deadline_s, lambda: _connect_unix(where))


async def connect_datagrams(
    where: Address, *, deadline_s: float = CONNECT_DEADLINE_S
) -> socket.socket:
    """Return a non-blocking UDP socket, connected to the first address to which a way leads.

    It says nothing to the other end yet: whether somebody listens, no one knows.
    Cancellation leaves nothing open.

    Raises:
      CannotReach: the name does not resolve, in time or at all, or no way leads there.
    """
    return await _in_time(deadline_s, lambda: _connect_udp(where))


def reset(sock: socket.socket) -> None:
    """Close, so that the other end of a TCP connection sees a reset and not an end.

    Idempotent. Whoever waits for the socket gets ``trio.ClosedResourceError``.
    """
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        trio.lowlevel.notify_closing(sock)
        sock.close()


def in_words(error: OSError) -> str:
    """The system's own words for an error, as they stand within a sentence."""
    if error.errno is None:
        return str(error)
    # Not error.strerror, to which Trio adds; but names have numbers of their own.
    words = str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno)
    return words[:1].lower() + words[1:]


async def _in_time(
    deadline_s: float, connecting: Callable[[], Awaitable[socket.socket]]
) -> socket.socket:
    try:
        with trio.fail_after(deadline_s):
            return await connecting()
    except trio.TooSlowError:
        raise _cannot_reach([TimeoutError(errno.ETIMEDOUT, "")]) from None
    except UnicodeError as error:
        # Only a name that no DNS can have: too long a label, or an empty one.
        raise CannotReach(Failure.NO_SUCH_HOST, "name or service not known") from error
    except OSError as error:
        raise _cannot_reach(_causes(error)) from error


async def _connect_tcp(where: Address) -> socket.socket:
    if where.host == LOOPBACK:
        with trio.move_on_after(LOOPBACK_PATIENCE_S):
            return await _connect_loopback(where.port)
    stream = await trio.open_tcp_stream(where.host, where.port)  # TCP_NODELAY is set
    return _plain(stream.socket.detach())


async def _connect_loopback(port: int) -> socket.socket:
    """Nobody need be asked what localhost is (RFC 6761, 6.3), and that takes longer than all
    the rest of a connection that stays within the machine."""
    failures: list[OSError] = []
    for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
        try:
            return await _connect_within(family, (host, port))
        except OSError as error:
            failures.append(error)
    raise _cannot_reach(failures)


async def _connect_within(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """Within the machine a connection is there, or refused, by the second look at it."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            code = sock.connect_ex(address)
        if code == errno.EALREADY:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in (0, errno.EISCONN):
            raise OSError(code, "")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _plain(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


async def _connect_unix(where: UnixPath) -> socket.socket:
    await trio.lowlevel.checkpoint()
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        if "\0" in where.path:
            raise FileNotFoundError(errno.ENOENT, "")  # the kernel would read only up to there
        # On a Unix socket this never is in progress: it is done or fails.
        sock.connect(where.path)
    except OSError:
        sock.close()
        raise
    return sock


async def _connect_udp(where: Address) -> socket.socket:
    failures = []
    for family, kind, protocol, _, address in await trio.socket.getaddrinfo(
        where.host, where.port, type=socket.SOCK_DGRAM
    ):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            failures.append(error)
            continue
        sock.setblocking(False)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failures.append(error)
            continue
        return sock
    raise _cannot_reach(failures)


def _causes(error: OSError) -> list[OSError]:
    """Every address's own failure, where Trio tried several."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        return [each for each in error.__cause__.exceptions if isinstance(each, OSError)]
    return [error]


def _cannot_reach(failures: list[OSError]) -> CannotReach:
    error = min(failures, key=_failure)
    if error.errno == errno.EAGAIN:
        return CannotReach(_failure(error), "connection refused: its queue is full")
    return CannotReach(_failure(error), in_words(error))


def _failure(error: OSError) -> Failure:
    if isinstance(error, socket.gaierror):
        return Failure.NO_SUCH_HOST
    return _FAILURES.get(error.errno or 0, Failure.GENERAL)
