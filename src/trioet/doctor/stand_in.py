"""A stand-in for the keeper's own port, while `trioet doctor` looks whether it is reached.

Without a router the keeper listens by itself, but not before there is a session: whether
its port would be reached cannot be told from a port that nobody listens on. So `trioet
check` listens there for as long as it is asked to, and says to everybody what the keeper
would say to a stranger. Standard library only.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from typing import Final

LIFE_S: Final = 60.0
"""It ends with its stdin, and after this in any case."""

MAX_CALLERS: Final = 64
"""Connections at once; the oldest goes first."""

MAX_REQUEST: Final = 8 + 4096
"""A length, and what trioet.wire.framing.MAX_HANDSHAKE_FRAME allows."""

INVALID_KEY: Final = struct.pack("<q", 2) + b"\x08\x03"
"""A ConnectResponse with this status, framed (Eternal Terminal specification 1.1, 1.3)."""

_LENGTH: Final = struct.Struct("<q")


def listen(ports: Iterable[int]) -> socket.socket | None:
    """Listen on the first of these ports that is free, on all addresses, as a keeper does."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    for port in ports:
        try:
            return socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError:
            continue
    return None


def serve(listener: socket.socket, owner: int) -> None:
    """Answer everybody until ``owner``, a descriptor, has ended. Closes the listener."""
    callers: dict[socket.socket, bytes] = {}
    end = time.monotonic() + LIFE_S
    listener.setblocking(False)
    with listener:
        while (left := end - time.monotonic()) > 0:
            watched: list[int | socket.socket] = [owner, listener, *callers]
            ready, _, _ = select.select(watched, [], [], left)
            if owner in ready and not os.read(owner, 4096):
                break
            for sock in ready:
                if sock is listener:
                    _accept(listener, callers)
                elif isinstance(sock, socket.socket) and sock in callers:
                    _answer(sock, callers)
    for sock in callers:
        sock.close()


def _accept(listener: socket.socket, callers: dict[socket.socket, bytes]) -> None:
    try:
        caller, _ = listener.accept()
    except OSError:
        return  # gone again
    caller.setblocking(False)
    if len(callers) >= MAX_CALLERS:
        oldest = next(iter(callers))
        del callers[oldest]
        oldest.close()
    callers[caller] = b""


def _answer(caller: socket.socket, callers: dict[socket.socket, bytes]) -> None:
    """Read some; when the request is whole, or can be none, say so and hang up."""
    try:
        data = caller.recv(MAX_REQUEST)
        callers[caller] += data
        if data and not _whole(callers[caller]):
            return
        if data:
            caller.send(INVALID_KEY)
    except OSError:
        pass
    del callers[caller]
    caller.close()


def _whole(request: bytes) -> bool:
    if len(request) < _LENGTH.size:
        return False
    length: int
    (length,) = _LENGTH.unpack_from(request)
    return len(request) >= min(max(length, 0) + _LENGTH.size, MAX_REQUEST)
