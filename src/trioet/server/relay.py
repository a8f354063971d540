"""One relayed connection: two sockets, and bytes that nobody looks at.

What can be read is written at once, from one buffer that all connections share: memory is
taken only by what a full socket leaves over. So a side that does not read stops the other
(back-pressure), and an idle connection costs two descriptors.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.link.line import USER_TIMEOUT_MS
from trioet.session.destinations import reset

BUFFER: Final = 64 * 1024
"""Bytes read at once: the fastest size as measured, for what was read is still in the cache
when it is written."""

CHECKPOINT_EVERY: Final = 8
"""Reads between two checkpoints, so that a flood does not starve the others."""

DEAD_CHECK_S: Final = 1.0
"""How often, while one side takes nothing, the other is looked at: reading would tell at
once that it has died, but there is no room for what it may say."""

KEEPALIVE_S: Final = 300
"""Silence after which the kernel asks whether the other end is there. The session's own ends
ask each other more often, and replace a dead way; this is for when both have gone."""

KEEPALIVE_GAP_S: Final = 10
KEEPALIVE_TRIES: Final = 3


async def relay(
    near: socket.socket,
    far: socket.socket,
    early: bytes,
    buffer: bytearray,
    answered: Callable[[], None] = lambda: None,
) -> None:
    """Pass on what comes, both ways, until both sides have ended; ``early`` goes to ``far`` first.

    ``answered`` is called when ``far`` says something. Owns both sockets. The end of one side
    is passed on, and the other may go on. A reset, an error or a silent death of one is a
    reset for the other, at once; so is cancellation.
    """
    for sock in (near, far):
        _tune(sock)
    orderly = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, near, far, early, buffer, nursery.cancel_scope)
            await trio.lowlevel.wait_readable(far)
            answered()
            await _pump(far, near, b"", buffer, nursery.cancel_scope)
        orderly = not nursery.cancel_scope.cancel_called
    finally:
        for sock in (near, far):
            if orderly:
                sock.close()
            else:
                reset(sock)


async def _pump(
    source: socket.socket,
    sink: socket.socket,
    early: bytes,
    buffer: bytearray,
    both: trio.CancelScope,
) -> None:
    """Pass on one direction until its end; if that is an error, end ``both``."""
    with memoryview(buffer) as view:
        try:
            await _send_rest(sink, early, source)
            reads = 0
            while True:
                try:
                    size = source.recv_into(view)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(source)
                    continue
                if not size:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sent = _send_some(sink, view[:size])
                if sent < size:
                    await _send_rest(sink, bytes(view[sent:size]), source)
                reads += 1
                if reads % CHECKPOINT_EVERY == 0:
                    await trio.lowlevel.checkpoint()
        except OSError:
            both.cancel()


def _send_some(sink: socket.socket, data: memoryview | bytes) -> int:
    try:
        return sink.send(data)
    except BlockingIOError:
        return 0


async def _send_rest(sink: socket.socket, data: bytes, source: socket.socket) -> None:
    """Send what a full socket left over.

    Raises:
      OSError: the sink failed, or the source has died meanwhile.
    """
    rest = memoryview(data)
    while rest:
        with trio.move_on_after(DEAD_CHECK_S):
            await trio.lowlevel.wait_writable(sink)
        if _has_died(source):
            raise ConnectionResetError
        rest = rest[_send_some(sink, rest) :]


def _has_died(sock: socket.socket) -> bool:
    """True after a reset or an error; an end that was said in order is none."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(seen & select.POLLERR for _, seen in poll.poll(0))


def _tune(sock: socket.socket) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_GAP_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
