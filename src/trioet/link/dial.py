"""Reach a host: every address it has, raced."""

from __future__ import annotations

import os
import socket
from typing import Final

import trio

from trioet.link.line import SocketLine

ANY_LOCAL: Final = {"any": None, "inet": "0.0.0.0", "inet6": "::"}
"""Where to connect from, by ssh's AddressFamily: it leaves no choice of the other family."""


async def dial(host: str, port: int, address_family: str = "any") -> SocketLine:
    """Connect to whichever address of ``host`` answers first (RFC 8305).

    ``address_family`` is ssh's word: ``any``, ``inet`` or ``inet6``.
    Names are resolved anew each time, in a thread. Cancellation leaves nothing open.

    Raises:
      OSError: the name does not resolve, or no address answers; the causes are in
          ``__cause__``.
    """
    local = ANY_LOCAL.get(address_family)
    try:
        stream = await trio.open_tcp_stream(host, port, local_address=local)
    except UnicodeError as error:  # of a label that no name has, empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name") from error
    # Trio offers no way to its socket's inside, and a line wants one that sends without
    # a checkpoint: so a second descriptor for the same connection.
    sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
    with trio.CancelScope(shield=True):
        await stream.aclose()
    name = f"{host} port {port}"
    return SocketLine(sock, name)
