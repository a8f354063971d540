"""The ports for clients: opened, or taken over from whoever had them before.

Workers that share a port have a listening socket each, among which the kernel deals out
what comes (SO_REUSEPORT, socket(7)). With one for all, whoever is awake takes whole bursts:
57 of 60 sessions were one worker's. The process that they work for has all of the sockets
too, so nobody who waits in the queue of a worker that died is lost.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from trioet.errors import LocalError

BACKLOG: Final = 1024
"""Clients that come back all at once, after a cut, wait here."""


class Opener(Protocol):
    """Opens a socket at a place; ``shared`` with others (SO_REUSEPORT)."""

    def __call__(self, host: str, port: int, *, shared: bool = False) -> socket.socket:
        """
        Raises:
          OSError: it cannot be had.
        """


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket of TCP. Host "" is every address of both families."""
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(
            ("", port),
            family=family,
            dualstack_ipv6=both,
            backlog=BACKLOG,
            reuse_port=shared,
        )
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.create_server(found[0][4], family=found[0][0], backlog=BACKLOG, reuse_port=shared)


def bind_udp(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket of UDP. Host "" is every address of both families."""
    both = not host and socket.has_dualstack_ipv6()
    place = host or ("::" if both else "0.0.0.0")
    found = socket.getaddrinfo(place, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    sock = socket.socket(found[0][0], socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(found[0][4])
    except BaseException:
        sock.close()
        raise
    return sock


def open_listeners(
    places: Sequence[tuple[str, int]],
    given: Sequence[socket.socket] = (),
    each: int = 1,
    opener: Opener = listen,
) -> list[socket.socket]:
    """Listen at all ``places``, at each with so many sockets, or more if so many are there.

    Of what was ``given``, what is asked for is taken, the rest closed. Host "" is every
    address of both families.

    Raises:
      LocalError: names the place, and what to do.
    """
    found: list[socket.socket] = []
    left = list(given)
    for host, port in places:
        same = [one for one in left if is_at(one, host, port)]
        left = [one for one in left if one not in same]
        found += same
        try:
            if not same:
                # Alone, for SO_REUSEPORT would share the port with another service, too.
                with opener(host, port) as probe:
                    port = probe.getsockname()[1]
            for _ in range(len(same), each):
                found.append(opener(host, port, shared=True))
        # What can be no name at all, like one with two dots in a row, is a UnicodeError.
        except (OSError, UnicodeError) as error:
            for listener in (*found, *left):
                listener.close()
            why = getattr(error, "strerror", None) or error
            raise LocalError(
                f"cannot listen on {host or '*'} port {port}: {why}; choose "
                "another place, or stop what listens there"
            ) from error
    for unwanted in left:
        unwanted.close()
    return found


def shares(listeners: Sequence[socket.socket], workers: int) -> list[list[socket.socket]]:
    """Deal the listeners out: every one is somebody's, and everybody has one of each place."""
    by_place: dict[object, list[socket.socket]] = {}
    for listener in listeners:
        by_place.setdefault(listener.getsockname(), []).append(listener)
    return [
        [one for same in by_place.values() for one in same[worker::workers] or [same[0]]]
        for worker in range(workers)
    ]


def is_at(listener: socket.socket, host: str, port: int) -> bool:
    """True if this listener is what ``host`` and ``port`` ask for (port 0: any)."""
    name = listener.getsockname()
    if port not in (0, name[1]):
        return False
    if not host:
        return name[0] in ("::", "0.0.0.0")
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        return any(address[0] == name[0] for *_, address in found)
    return False
