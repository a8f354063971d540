"""The PROXY protocol: a proxy's first words to a backend, which say who its client is.

Both versions of https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt ("the
specification" here), as a sender needs them. What is not to be told, or cannot, is said to
be unknown: the backend then takes the proxy's own address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How version 2 begins, section 2.2."""

LOCAL: Final = 0x20
PROXY: Final = 0x21
"""Version 2 and a command. LOCAL: the receiver must take the connection's own addresses."""

UNSPECIFIED: Final = 0x00
TCP_OVER_IPV4: Final = 0x11
TCP_OVER_IPV6: Final = 0x21

Address: TypeAlias = tuple[str, int]
"""As sockets tell it, without what IPv6 adds: a number as text, and a port."""

_Pair: TypeAlias = tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]


def version_1(client: Address | None, local: Address) -> bytes:
    """The line of version 1 for a client that came to ``local``; None: not to be told."""
    hosts = _of_one_family(client, local)
    if client is None or hosts is None:
        return b"PROXY UNKNOWN\r\n"
    family = f"TCP{hosts[0].version}"
    return f"PROXY {family} {hosts[0]} {hosts[1]} {client[1]} {local[1]}\r\n".encode()


def version_2(client: Address | None, local: Address) -> bytes:
    """The header of version 2 for a client that came to ``local``; None: not to be told."""
    hosts = _of_one_family(client, local)
    if client is None or hosts is None:
        return SIGNATURE + bytes((LOCAL, UNSPECIFIED)) + bytes(2)
    addresses = hosts[0].packed + hosts[1].packed
    addresses += client[1].to_bytes(2, "big") + local[1].to_bytes(2, "big")
    family = TCP_OVER_IPV4 if hosts[0].version == 4 else TCP_OVER_IPV6
    return SIGNATURE + bytes((PROXY, family)) + len(addresses).to_bytes(2, "big") + addresses


def _of_one_family(client: Address | None, local: Address) -> _Pair | None:
    """Both hosts as addresses of one family, IPv4 if that can be; None if one is no address.

    A socket of both families tells IPv4 as ::ffff:192.0.2.1 (RFC 4291, 2.5.5.2).
    """
    if client is None:
        return None
    try:
        theirs, ours = (ip_address(host.partition("%")[0]) for host, _ in (client, local))
    except ValueError:
        return None
    theirs, ours = _unmapped(theirs), _unmapped(ours)
    if isinstance(theirs, IPv4Address) and isinstance(ours, IPv4Address):
        return theirs, ours
    return _mapped(theirs), _mapped(ours)


def _unmapped(host: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (host.ipv4_mapped or host) if isinstance(host, IPv6Address) else host


def _mapped(host: IPv4Address | IPv6Address) -> IPv6Address:
    return host if isinstance(host, IPv6Address) else IPv6Address(f"::ffff:{host}")
