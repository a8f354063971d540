"""open_eternal_stream: the client's end."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from trioet.eternal.stream import EternalStream
from trioet.link.line import Line

CLOSE_TIMEOUT_S = 30.0
KEEPALIVE_S = 5.0


@asynccontextmanager
async def open_eternal_stream(
    host: str,
    port: int,
    *,
    psk: bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    client_id: bytes | None = None,
    passkey: bytes | None = None,
    dial: Callable[[], Awaitable[Line]] | None = None,
    keepalive: float = KEEPALIVE_S,
    give_up_after: float = math.inf,
    close_timeout: float = CLOSE_TIMEOUT_S,
) -> AsyncIterator[EternalStream]:
    """Open a stream to a :func:`trioet.serve_eternal`, for as long as the block lasts.

    Exactly one of these says how both ends get the key of the session:

    * ``psk``: a secret of 16 random bytes or more that both know. Each session has a key of its
      own, which nobody can find out later, not even with the secret.
    * ``ssl_context``: the first connection is TLS, which tells the ends who they are, and the
      session's key is agreed on within; all that follows is sealed by that key.
      ``server_hostname`` is checked against the certificate; it is ``host`` by default.
    * ``client_id`` and ``passkey``, of 16 and 32 bytes, which the server was given by other means.
      Never use a passkey for two sessions: that lets others read both.

    ``dial`` makes a connection, instead of TCP to ``host`` and ``port``; it may be called at any
    time, and several calls may overlap. ``keepalive``: seconds of silence, while the stream is
    in use, after which the server is asked whether it is there. ``give_up_after``: seconds
    without a connection after which the session is lost. ``close_timeout``: see
    :meth:`EternalStream.aclose`.

    At the end of the block the stream is closed, which delivers. If the block raises, or is
    cancelled, it is aborted: nothing waits, and the server's side is told if there is a
    connection.

    Raises:
      StepFailed: no session could be had; says why, and what to do.
      ValueError: not exactly one kind of key, or one of the wrong length.
    """
    raise NotImplementedError
    yield
