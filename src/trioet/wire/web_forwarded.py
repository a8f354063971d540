"""Whom a reverse proxy speaks for: X-Forwarded-For and X-Forwarded-Proto, where it is trusted.

Everybody can write these fields. Each proxy appends to X-Forwarded-For whom it was asked by, so the
end is the truth if our peer says so, and each address before it if the one behind it is a proxy
of ours too. The rightmost that is none is the visitor; what stands before it he may have made up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX: Final = "unix"
"""Whoever may connect to our Unix socket; also what a peer there is called."""

_HOP: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+|([0-9A-Fa-f:.]+)")
"""An address, with or without a port."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies whose word is taken."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def include(self, peer: str) -> bool:
        """True if that peer is one: an IP address, or UNIX."""
        if peer == UNIX:
            return self.unix
        address = _address(peer)
        return address is not None and self._has(address)

    def visitor(self, peer: str, fields: Mapping[str, str]) -> str:
        """The address of who asks, where ``peer`` is a proxy. It is the nearest one known, if
        what that has been told is no address.
        """
        found = peer
        for word in reversed(fields.get("x-forwarded-for", "").split(",")):
            address = _hop(word.strip())
            if address is None:
                break
            found = str(address)
            if not self._has(address):
                break
        return found

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def proxies(words: list[str]) -> Proxies:
    """Proxies by their addresses (``10.0.0.0/8``), or UNIX.

    Raises:
      ValueError: it is no address; or everybody.
    """
    networks = [ipaddress.ip_network(word, strict=False) for word in words if word != UNIX]
    for network in networks:
        if not network.prefixlen:
            raise ValueError(f"{network} is everybody")
    return Proxies(tuple(networks), UNIX in words)


def scheme(fields: Mapping[str, str]) -> str:
    """What a proxy was asked by, ``http`` or ``https``; empty if it does not say."""
    said = fields.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return said if said in ("http", "https") else ""


def _hop(word: str) -> Address | None:
    found = _HOP.fullmatch(word)
    return _address(found[1] or found[2] or found[3]) if found else None


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
