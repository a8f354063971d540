"""Listen where a forward begins: on addresses, or on a Unix socket that only its user may use.

Nothing is ever taken from anybody: an address in use, or a path at which something is, is
an error that says what to do. A service may first remove what one before it has left.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import shlex
import socket
import stat
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, Self, TypeAlias

import trio

from trioet.errors import LocalError
from trioet.session.destinations import in_words
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, Endpoint, UnixPath

log = logging.getLogger(__name__)

BACKLOG: Final = 128
"""Connections that may wait to be accepted; further ones are tried again by the kernel."""

PORT_TRIES: Final = 16
"""A port that is free in one family may be taken in the other; then another is chosen."""

ACCEPT_PAUSE_S: Final = 0.1
"""After accept failed for want of descriptors or memory."""

MAX_SOCKET_PATH: Final = 107
"""Bytes that fit struct sockaddr_un, unix(7)."""

PRIVILEGED_PORTS: Final = 1024

_SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_CONNECTION_GONE: Final = {
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
}
"""Errors of the connection that was to be accepted, not of the listener: accept(2)."""

_NO_SUCH_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""The machine does not have it, as ::1 where there is no IPv6."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

_Place: TypeAlias = tuple[int, tuple[Any, ...]]
"""A family and an address of it, as the socket module has them."""

_EVERY_FAMILY: Final[dict[str, list[_Place]]] = {
    LOOPBACK: [(socket.AF_INET6, ("::1",)), (socket.AF_INET, ("127.0.0.1",))],
    ANYWHERE: [(socket.AF_INET6, ("::",)), (socket.AF_INET, ("0.0.0.0",))],
}


class CannotListen(LocalError):
    """A place to listen on cannot be had; the text says which, why, and what to do."""


class Bound:
    """Sockets that are bound to one port, or to a path. Owns them.

    Non-blocking, and meant to be used in ``with``.
    """

    def __init__(self, sockets: Sequence[socket.socket], path: _OwnPath | None = None) -> None:
        self.sockets = tuple(sockets)
        self._path = path
        self.addresses: tuple[Endpoint, ...] = tuple(map(_bound_to, sockets))
        """Where it really listens."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' '.join(map(str, self.addresses))}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port, the same in all families; 0 for a path."""
        first = self.addresses[0]
        return first.port if isinstance(first, Address) else 0

    def close(self) -> None:
        """Close, and remove the path if our socket is still there. Idempotent.

        Whoever waits gets ``trio.ClosedResourceError``.
        """
        if self._path is not None:
            self._path.remove()  # while the socket is open nothing else can have its inode
            self._path = None
        for sock in self.sockets:
            if sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()


class Listener(Bound):
    """Sockets that accept connections; ``accept`` belongs to one task."""

    def __init__(self, sockets: Sequence[socket.socket], path: _OwnPath | None = None) -> None:
        super().__init__(sockets, path)
        self._told = False
        # One descriptor that is readable when any of the sockets is: waiting costs the same
        # for two families as for one, and whoever is cancelled has accepted nothing.
        self._ready = select.epoll()
        for sock in sockets:
            self._ready.register(sock, select.EPOLLIN)

    async def accept(self) -> socket.socket:
        """Wait for a connection and return it, as a plain non-blocking socket.

        A TCP socket sends at once (TCP_NODELAY). Cancellation loses no connection. Want of
        descriptors or memory delays it; those who connected wait as long.

        Raises:
          trio.ClosedResourceError: closed.
          OSError: the listener itself failed.
        """
        while True:
            if self._ready.closed:
                raise trio.ClosedResourceError("this listener was closed")
            await trio.lowlevel.wait_readable(self._ready)
            # One at a time: the kernel puts it last in the queue, so no family is forgotten.
            for descriptor, _ in self._ready.poll(0, 1):
                sock = next(each for each in self.sockets if each.fileno() == descriptor)
                try:
                    connection, _ = sock.accept()
                except OSError as error:
                    await self._get_over(error)
                    continue
                connection.setblocking(False)
                return connection

    async def _get_over(self, error: OSError) -> None:
        if error.errno in _CONNECTION_GONE:
            return
        if error.errno not in _SHORTAGES:
            raise error
        if not self._told:
            self._told = True
            log.error("%s: cannot accept: %s; it goes on when it can", self, in_words(error))
        await trio.sleep(ACCEPT_PAUSE_S)

    def close(self) -> None:
        """Close, and remove the path if our socket is still there. Idempotent.

        A waiting ``accept`` raises ``trio.ClosedResourceError``.
        """
        if not self._ready.closed:
            trio.lowlevel.notify_closing(self._ready)
            self._ready.close()
        super().close()


async def open_listener(where: Endpoint) -> Listener:
    """Listen at ``where``, which may be LOOPBACK or ANYWHERE; with port 0, at any free one.

    Addresses that the machine does not have are left out, unless no other remain. A path
    is made with mode 0600: no other user can ever connect. Cancellation leaves nothing
    behind.

    Raises:
      CannotListen: in use, not permitted, no such name; or something is at the path.
    """
    with ExitStack() as opened:
        try:
            match where:
                case UnixPath(path):
                    await trio.lowlevel.checkpoint()
                    sock, own = _bind_path(path, opened)
                    sock.listen(BACKLOG)
                    listener = Listener([sock], own)
                case Address():
                    places = await _places(where, socket.SOCK_STREAM)
                    sockets = _bind_port(places, socket.SOCK_STREAM, where.port, opened)
                    listener = Listener(sockets)
        except OSError as error:
            raise _cannot_listen(where, error) from error
        opened.pop_all()
        return listener


def remove_abandoned(path: str) -> None:
    """Remove a socket at which nobody listens any more, as a service that was killed leaves it.

    Whatever else is there stays; :func:`open_listener` says what.
    """
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


async def open_datagrams(where: Endpoint) -> Bound:
    """Bind UDP sockets at ``where``, one for each address; as for :func:`open_listener`.

    Raises:
      CannotListen: as there; and a path, for there are none for UDP.
    """
    if isinstance(where, UnixPath):
        raise CannotListen(f"cannot listen on {where}: UDP needs a port")
    with ExitStack() as opened:
        try:
            places = await _places(where, socket.SOCK_DGRAM)
            bound = Bound(_bind_port(places, socket.SOCK_DGRAM, where.port, opened))
        except OSError as error:
            raise _cannot_listen(where, error) from error
        opened.pop_all()
        return bound


class PrivateSockets:
    """A directory for sockets that we place ourselves, as the agent's: ours, mode 0700.

    ``directory`` is the user's private one for sockets. To be used in ``with``, around the
    listeners.
    """

    def __init__(self, directory: str) -> None:
        """Make it, under a new name.

        Raises:
          CannotListen: it cannot be made.
        """
        try:
            self.directory = tempfile.mkdtemp(prefix="s-", dir=directory)
        except OSError as error:
            raise CannotListen(
                f"cannot make a place for sockets in {directory}: {in_words(error)}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, name: str) -> UnixPath:
        """Return where the socket of that name goes.

        Raises:
          CannotListen: no name of a file, or one that a shell would mind.
        """
        if not _NAME.fullmatch(name):
            raise CannotListen(f"{name!r} is no name for a socket")
        return UnixPath(os.path.join(self.directory, name))

    def close(self) -> None:
        """Remove the directory, unless somebody put something there. Idempotent."""
        with suppress(OSError):
            os.rmdir(self.directory)


# Addresses


async def _places(where: Address, kind: int) -> list[_Place]:
    if where.host in _EVERY_FAMILY:
        return _EVERY_FAMILY[where.host]
    try:
        found = await trio.socket.getaddrinfo(where.host, where.port, type=kind)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_port(
    places: Sequence[_Place], kind: int, port: int, opened: ExitStack
) -> list[socket.socket]:
    """Bind all, to the same port; whatever ``opened`` holds is closed if that fails later."""
    for _ in range(1, PORT_TRIES) if port == 0 else ():
        try:
            return _bind_once(places, kind, port, opened)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return _bind_once(places, kind, port, opened)


def _bind_once(
    places: Sequence[_Place], kind: int, port: int, opened: ExitStack
) -> list[socket.socket]:
    lacking = OSError(errno.EADDRNOTAVAIL, "")
    sockets: list[socket.socket] = []
    with ExitStack() as attempt:
        for family, address in places:
            try:
                sock = _bind(family, kind, (address[0], port, *address[2:]))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                lacking = error
                continue
            sockets.append(attempt.enter_context(sock))
            port = sock.getsockname()[1]
        if not sockets:
            raise lacking
        if kind == socket.SOCK_STREAM:
            for sock in sockets:
                sock.listen(BACKLOG)
        opened.push(attempt.pop_all())
    return sockets


def _bind(family: int, kind: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_to(sock: socket.socket) -> Endpoint:
    name = sock.getsockname()
    return UnixPath(name) if sock.family == socket.AF_UNIX else Address(name[0], name[1])


# Paths


class _OwnPath:
    """The path of a socket that we made, for as long as it is that socket's."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inode = _inode(os.lstat(path))

    def remove(self) -> None:
        with suppress(OSError):
            if _inode(os.lstat(self._path)) == self._inode:
                os.unlink(self._path)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _bind_path(path: str, opened: ExitStack) -> tuple[socket.socket, _OwnPath]:
    if not path.startswith("/") or "\0" in path:
        raise CannotListen(f"cannot listen on {path!r}: not an absolute path")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise CannotListen(
            f"cannot listen on {path}: a socket's path has {MAX_SOCKET_PATH} bytes at most; "
            "choose a shorter one"
        )
    sock = opened.enter_context(socket.socket(socket.AF_UNIX))
    sock.setblocking(False)
    # Linux gives a path the mode that its socket has when it is bound: so there is no
    # moment in which others could connect, and the umask of the process stays as it is.
    os.fchmod(sock.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    sock.bind(path)
    own = _OwnPath(path)
    opened.callback(own.remove)
    return sock, own


def _what_is_at(path: str) -> str:
    """Say what is there, where a socket should be, and what can be done about it."""
    try:
        found = os.lstat(path)
    except OSError:
        return "something was there, and is gone; try again"
    if stat.S_ISDIR(found.st_mode):
        return "a directory is there; choose another path"
    if stat.S_ISLNK(found.st_mode):
        return f"a link is there, to {os.readlink(path)}; choose another path, or remove it"
    if not stat.S_ISSOCK(found.st_mode):
        return "a file is there; choose another path, or remove it"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return f"a socket is there that nobody uses any more; remove it: rm {shlex.quote(path)}"
        except OSError:
            pass
    return "a socket is there, and in use; choose another path"


# Words


def _cannot_listen(where: Endpoint, error: OSError) -> CannotListen:
    return CannotListen(f"cannot listen on {where}: {_why(where, error)}")


def _why(where: Endpoint, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        # EAI_AGAIN and its like may pass; they are told in the system's words.
        return "no such host" if error.errno == socket.EAI_NONAME else in_words(error)
    match where, error.errno:
        case UnixPath(path), errno.EADDRINUSE:
            return _what_is_at(path)
        case UnixPath(path), errno.ENOENT:
            return f"no such directory: {os.path.dirname(path)}"
        case Address(_, port), errno.EACCES if port < PRIVILEGED_PORTS:
            return f"permission denied (ports below {PRIVILEGED_PORTS} need a privilege)"
        case Address(), errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return "this machine has no such address"
    return in_words(error)
