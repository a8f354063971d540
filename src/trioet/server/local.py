"""How keeper and router talk: messages on a Unix socket, and connections handed over.

A sequenced-packet socket keeps message boundaries, so a message is one JSON object in one
datagram, at most MAX_MESSAGE bytes; an arrival carries its connection as a descriptor and
the bytes already read from it after the JSON's newline. Both sides start with their
version and ignore what they do not know, so that a newer one can talk to an older.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import stat
import struct
from dataclasses import dataclass
from typing import Any, Final

import trio

from trioet.errors import LocalError, MessageError
from trioet.server.places import check_socket_place

LOCAL_VERSION: Final = 1
MAX_MESSAGE: Final = 16 * 1024

CONNECT_DEADLINE_S: Final = 2.0
"""How long a keeper waits for a place in the queue of a router that is there."""

CONNECT_PAUSE_S: Final = 0.02
"""Between two looks at that queue: the kernel tells nobody that it has room."""

_UCRED: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``descriptors`` are ours to close."""

    fields: dict[str, Any]
    attachment: bytes = b""
    descriptors: tuple[int, ...] = ()

    def close_descriptors(self) -> None:
        """Close what came with a message that should have brought nothing."""
        _close(self.descriptors)


def peer_credentials(sock: socket.socket) -> Credentials:
    """Ask the kernel who connected."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Credentials(*_UCRED.unpack(packed))


class LocalChannel:
    """One end of a connection between keeper and router. Owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def limit_unread(self, size: int) -> None:
        """Let the other end leave about ``size`` bytes unread; the kernel doubles it."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    @property
    def credentials(self) -> Credentials:
        """Who is at the other end."""
        return peer_credentials(self._sock)

    def send_nowait(
        self, fields: dict[str, Any], attachment: bytes = b"", descriptor: int | None = None
    ) -> bool:
        """Send a message at once; False when the other end is gone or does not read."""
        data = json.dumps(fields, separators=(",", ":")).encode() + b"\n" + attachment
        rights = [] if descriptor is None else [_rights(descriptor)]
        try:
            self._sock.sendmsg([data], rights)
        except OSError:
            return False
        return True

    async def receive(self) -> Message | None:
        """Return the next message; None at the end. Cancellation loses nothing.

        Raises:
          MessageError: not a message.
          OSError: the socket failed.
        """
        await trio.lowlevel.checkpoint()  # whoever sends without end must not stop the others
        while True:
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    MAX_MESSAGE, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
        descriptors = _received(ancillary)
        if not data:
            _close(descriptors)
            return None
        try:
            if flags & socket.MSG_TRUNC:
                raise MessageError(f"local message of more than {MAX_MESSAGE} bytes")
            return parse_message(data, descriptors)
        except MessageError:
            _close(descriptors)
            raise

    async def wait_writable(self) -> None:
        """Wait until the other end has read some. Cancellation changes nothing."""
        await trio.lowlevel.wait_writable(self._sock)

    def close(self) -> None:
        """Close this end. Idempotent."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


async def connect_local(path: str) -> LocalChannel:
    """Connect to the router at ``path``. Cancellation leaves nothing open.

    Raises:
      OSError: nobody listens there, or does not accept within CONNECT_DEADLINE_S.
    """
    await trio.lowlevel.checkpoint()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    deadline = trio.current_time() + CONNECT_DEADLINE_S
    try:
        while not _has_connected(sock, path):
            if trio.current_time() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "does not accept connections", path)
            await trio.sleep(CONNECT_PAUSE_S)
    except BaseException:
        sock.close()
        raise
    return LocalChannel(sock)


def _has_connected(sock: socket.socket, path: str) -> bool:
    """Connect at once; False when too many wait there already (EAGAIN)."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


def bind_local(path: str, mode: int) -> socket.socket:
    """Listen for keepers at ``path``, in place of a socket that nobody serves any more.

    Raises:
      LocalError: something else is there, somebody serves it, anybody could replace it, or
          it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        check_socket_place(path)
        _remove_stale(path)
        listener.bind(path)
        os.chmod(path, mode)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise LocalError(f"cannot listen at {path}: {error.strerror or error}") from error
    except LocalError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise LocalError(f"{path} exists and is not a socket; remove it if it is not needed")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        probe.connect(path)
    except OSError:
        os.unlink(path)
    else:
        raise LocalError(f"another trioet server listens at {path}; stop it, or use --socket")
    finally:
        probe.close()


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _rights(descriptor: int) -> tuple[int, int, array.array[int]]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])


def _received(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return tuple(descriptors)


def parse_message(data: bytes, descriptors: tuple[int, ...]) -> Message:
    """Take a message apart.

    Raises:
      MessageError: it is not one.
    """
    head, _, attachment = data.partition(b"\n")
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError):
        raise MessageError("a local message that is not JSON") from None
    if not isinstance(fields, dict):
        raise MessageError("a local message that is not an object")
    return Message(fields, attachment, descriptors)
