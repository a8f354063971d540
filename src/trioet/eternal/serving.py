"""serve_eternal: the server's end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import trio

from trioet.eternal.stream import EternalStream

MAX_SESSIONS = 1000
MAX_SESSIONS_PER_SOURCE = 200
ABANDONED_AFTER_S = 24 * 3600.0
CLOSE_TIMEOUT_S = 30.0
REPLAY_MEMORY = 256 * 1024 * 1024


@dataclass(frozen=True)
class ServerStatistics:
    """Counts of one server. ``sessions`` are open now, ``away`` of them without a connection."""

    sessions: int
    away: int
    opened: int
    accepted: int
    refused: int
    kept_bytes: int


class EternalServer:
    """What :func:`serve_eternal` gives to who starts it with ``nursery.start``."""

    port: int
    """Where it listens: the port of the first listener."""

    addresses: Sequence[tuple[str, int]]
    """All addresses at which it listens."""

    @property
    def streams(self) -> Sequence[EternalStream]:
        """Those that are open, the oldest first."""
        raise NotImplementedError

    def statistics(self) -> ServerStatistics:
        """Counts as they are now."""
        raise NotImplementedError


async def serve_eternal(
    handler: Callable[[EternalStream], Awaitable[object]],
    port: int,
    *,
    host: str | None = None,
    psk: bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    passkeys: MutableMapping[bytes, bytes] | None = None,
    listeners: Sequence[socket.socket] | None = None,
    max_sessions: int = MAX_SESSIONS,
    max_sessions_per_source: int = MAX_SESSIONS_PER_SOURCE,
    abandoned_after: float = ABANDONED_AFTER_S,
    close_timeout: float = CLOSE_TIMEOUT_S,
    replay_memory: int = REPLAY_MEMORY,
    task_status: trio.TaskStatus[EternalServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Accept eternal streams, and run ``handler(stream)`` for each in a task of its own.

    ``port`` 0 takes any; ``host`` None listens on all addresses. ``listeners``, which are listening
    stream sockets and become the server's, take their place. Keys as in
    :func:`trioet.open_eternal_stream`: one or more of ``psk``, ``ssl_context`` (of a server; it
    may ask for client certificates) and ``passkeys``, from client id to passkey. An entry is
    taken out when its client comes, for no passkey may serve twice; more may be added any time.

    When the handler returns, its stream is closed, which delivers for up to ``close_timeout``
    seconds. When it raises an Exception, that is logged, the peer is told that the stream was
    aborted, and nobody else is harmed. A session whose client has had no connection for
    ``abandoned_after`` seconds is lost: its stream is broken. At most ``max_sessions`` are open,
    and ``max_sessions_per_source`` that were opened from one IPv4 address or IPv6 /64; others are
    told so. ``replay_memory``: bytes that all together may keep for clients that are away; if
    they do, those that keep most wait.

    Never returns. Cancellation cancels the handlers and aborts their streams.

    Raises:
      OSError: it cannot listen there.
      ValueError: no key, or one of the wrong length.
    """
    raise NotImplementedError
