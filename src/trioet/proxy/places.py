"""Where a proxy listens and where it leads, as people write it: ``[eternal:]HOST:PORT``, or the
path of a Unix socket."""

from __future__ import annotations

from typing import Final, NamedTuple

from trioet.bootstrap.host import parse_host
from trioet.errors import UsageError
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, Endpoint, UnixPath

ETERNAL: Final = "eternal:"
"""Before a place at which a proxy like this one is at the other end."""


class ProxyPlace(NamedTuple):
    """One end of a proxy."""

    endpoint: Endpoint
    eternal: bool = False

    def __str__(self) -> str:
        return f"{ETERNAL if self.eternal else ''}{self.endpoint}"


def parse_listen(text: str) -> ProxyPlace:
    """What --listen names: ``[ADDR:]PORT`` (``*`` for every address, loopback without one),
    ``/path``, or ``eternal:ADDR:PORT``.

    Raises:
      UsageError: it is none of these.
    """
    eternal, place = _kind(text)
    if eternal is not None:
        return eternal
    if place.isdigit() and not text.startswith(ETERNAL):
        place = f"{LOOPBACK}:{place}"
    return ProxyPlace(_address(text, place, "--listen"), text.startswith(ETERNAL))


def parse_to(text: str) -> ProxyPlace:
    """What --to names: ``HOST:PORT``, ``/path``, or ``eternal:HOST:PORT``.

    Raises:
      UsageError: it is none of these.
    """
    path, place = _kind(text)
    return path or ProxyPlace(_address(text, place, "--to"), text.startswith(ETERNAL))


def _kind(text: str) -> tuple[ProxyPlace | None, str]:
    """The place if it is a path, and what else is to be read."""
    place = text.removeprefix(ETERNAL)
    if not place.startswith("/"):
        return None, place
    if place is not text:
        raise UsageError(f"{text}: a proxy at the other end has a port, not a path")
    return ProxyPlace(UnixPath(place)), place


def _address(text: str, place: str, option: str) -> Address:
    host, _, digits = place.rpartition(":")
    if host == ANYWHERE and option == "--listen":
        found = parse_host(f"localhost:{digits}")._replace(host=ANYWHERE)
    elif host and not host.startswith("["):
        found = parse_host(f"[{host}]:{digits}" if ":" in host else place)
    else:
        found = parse_host(place)
    if found.port is None or found.more_ports or found.user is not None:
        raise UsageError(f"{option} {text}: as HOST:PORT")
    return Address(found.host, found.port)
