"""Where the router listens: the addresses that are meant, and sockets there."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from trioet.errors import LocalError

log = logging.getLogger(__name__)

BACKLOG: Final = 256

_EVERY: Final = {"::", "0.0.0.0"}

_NO_SUCH_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""The machine does not have it, as ::1 where there is no IPv6."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address and a port, as the socket module has them; ``both``: of both families."""

    family: int
    address: tuple[Any, ...]
    both: bool = False

    @property
    def port(self) -> int:
        """Its port; 0 is any."""
        port: int = self.address[1]
        return port

    def at(self, port: int) -> Place:
        """The same address with that port."""
        host, _, *rest = self.address
        return replace(self, address=(host, port, *rest))

    def excludes(self, other: Place) -> bool:
        """True where the kernel does not let both be listened on: one is a part of the other."""
        if self.port != other.port:
            return False
        same_family = self.family == other.family
        every = self.address[0] in _EVERY or other.address[0] in _EVERY
        return self.both or other.both or (same_family and every)

    def listen(self) -> socket.socket:
        """
        Raises:
          OSError: it cannot be had.
        """
        return socket.create_server(
            self.address, family=self.family, dualstack_ipv6=self.both, backlog=BACKLOG
        )


Places: TypeAlias = Mapping[str, Sequence[Place]]
"""Host, as it was asked for -> what it stands for: a name may have several addresses."""


def find_places(hosts: Sequence[str], port: int) -> Places:
    """What these hosts stand for; without any it is "", all addresses of both families.

    Raises:
      LocalError: a name is unknown.
    """
    return {host: _places(host, port) for host in hosts or ("",)}


def _places(host: str, port: int) -> list[Place]:
    if not host:
        if socket.has_dualstack_ipv6():
            return [Place(socket.AF_INET6, ("::", port, 0, 0), both=True)]
        return [Place(socket.AF_INET, ("0.0.0.0", port))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # What can be no name at all, like one with two dots in a row, is a UnicodeError.
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    return list(dict.fromkeys(Place(family, address) for family, _, _, _, address in found))


def open_listeners(wanted: Places, kept: Collection[Place] = ()) -> dict[Place, socket.socket]:
    """Listen on all that is ``wanted`` and not ``kept``; where any port will do, on the same.

    What this machine does not have of a name's addresses is passed over if it has another.

    Raises:
      LocalError: names the host and port, and what to do; then nothing was opened.
    """
    opened: dict[Place, socket.socket] = {}
    for host, places in wanted.items():
        try:
            _open_each(places, kept, opened)
        except OSError as error:
            for listener in opened.values():
                listener.close()
            raise _cannot_listen(host, places[0].port, error) from error
    return opened


def _open_each(
    places: Sequence[Place], kept: Collection[Place], opened: dict[Place, socket.socket]
) -> None:
    lacking: list[tuple[Place, OSError]] = []
    for wanted in places:
        place = wanted if wanted.port or not opened else wanted.at(next(iter(opened)).port)
        if place in kept or place in opened:
            continue
        try:
            listener = place.listen()
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
            lacking.append((place, error))
        else:
            opened[place.at(listener.getsockname()[1])] = listener
    if len(lacking) == len(places):
        raise lacking[0][1]
    for place, why in lacking:
        log.info("not listening on %s: %s", place.address[0], why.strerror)


def open_again(places: Iterable[Place]) -> dict[Place, socket.socket]:
    """Listen where somebody did until just now; the log says where that cannot be."""
    opened: dict[Place, socket.socket] = {}
    for place in places:
        try:
            opened[place] = place.listen()
        except OSError as error:
            where = place.address[0], place.port
            log.error("nobody listens on %s port %d any more: %s", *where, error.strerror)
    return opened


def _cannot_listen(host: str, port: int, error: Exception) -> LocalError:
    why = getattr(error, "strerror", None) or error
    return LocalError(
        f"cannot listen on {host or '*'} port {port}: {why}; "
        "choose another with --port or --bind, or stop what listens there"
    )
