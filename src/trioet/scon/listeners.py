"""The ports for clients: opened, or taken over from whoever had them before."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from trioet.errors import LocalError

BACKLOG: Final = 1024
"""Clients that come back all at once, after a cut, wait here."""


def open_listeners(
    places: Sequence[tuple[str, int]], given: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """Listen at all ``places``. Of what was ``given``, what is asked for is taken, the rest closed.

    Host "" is every address of both families.

    Raises:
      LocalError: names the place, and what to do.
    """
    found: list[socket.socket] = []
    left = list(given)
    for host, port in places:
        same = next((one for one in left if _is_at(one, host, port)), None)
        if same is not None:
            left.remove(same)
            found.append(same)
            continue
        try:
            found.append(_listen(host, port))
        except OSError as error:
            for listener in (*found, *left):
                listener.close()
            raise LocalError(
                f"cannot listen on {host or '*'} port {port}: {error.strerror or error}; choose "
                "another place, or stop what listens there"
            ) from error
    for unwanted in left:
        unwanted.close()
    return found


def _listen(host: str, port: int) -> socket.socket:
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=BACKLOG)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.create_server(found[0][4], family=found[0][0], backlog=BACKLOG)


def _is_at(listener: socket.socket, host: str, port: int) -> bool:
    """True if this listener is what ``host`` and ``port`` ask for (port 0: any)."""
    name = listener.getsockname()
    if port not in (0, name[1]):
        return False
    if not host:
        return name[0] in ("::", "0.0.0.0")
    with suppress(OSError):
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        return any(address[0] == name[0] for *_, address in found)
    return False
