"""Where a proxy's connections come from: a port, a Unix socket, or eternal streams."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.eternal.serving import serve_eternal
from trioet.eternal.stream import EternalStream
from trioet.proxy.figures import Figures
from trioet.session.listeners import Listener

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1000
"""That a proxy carries at once; others wait to be accepted."""


async def accept_sockets(
    listener: Listener, carry: Callable[[socket.socket], Awaitable[None]], figures: Figures
) -> None:
    """Have every connection carried in a task of its own; ``carry`` owns it. Until cancelled,
    which cancels them all.

    Raises:
      OSError: the listener failed.
    """
    limit = trio.CapacityLimiter(MAX_CONNECTIONS)
    async with trio.open_nursery() as nursery:
        while True:
            token = object()
            await limit.acquire_on_behalf_of(token)
            sock = await listener.accept()

            async def attend(sock: socket.socket = sock, token: object = token) -> None:
                try:
                    await _counted(figures, carry, sock)
                finally:
                    limit.release_on_behalf_of(token)

            nursery.start_soon(attend)


async def accept_eternal(
    listener: Listener,
    key: bytes,
    carry: Callable[[EternalStream], Awaitable[None]],
    figures: Figures,
) -> None:
    """The same for eternal streams of proxies that have the key; the library owns them."""

    async def attend(stream: EternalStream) -> None:
        await _counted(figures, carry, stream)

    sockets = [sock.dup() for sock in listener.sockets]
    listener.close()
    await serve_eternal(
        attend,
        0,
        psk=key,
        listeners=sockets,
        max_sessions=MAX_CONNECTIONS,
        max_sessions_per_source=MAX_CONNECTIONS,  # one proxy brings them all
    )


async def _counted(
    figures: Figures, carry: Callable[..., Awaitable[None]], connection: object
) -> None:
    figures.accepted += 1
    figures.open += 1
    try:
        await carry(connection)
    except* Exception:
        log.exception("a fault in trioet; please report it")
    finally:
        figures.open -= 1
