"""Does the kernel still send to our peer by the way it did? It answers without sending anything.

Most changes of the network are none of ours: containers come and go. What matters is whether
the interface, the gateway or our own address on the way to the peer is another one.
Source: rtnetlink(7), RTM_GETROUTE.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Hashable, Sequence
from typing import Final

from trioet.client.wakers import MESSAGE, ROUTE, attributes
from trioet.link.line import Line, SocketLine

_GETROUTE, _NEWROUTE = 26, 24
_REQUEST: Final = 1  # NLM_F_REQUEST
_DESTINATION: Final = 1  # RTA_DST
_WAY: Final = frozenset({4, 5, 7, 18})  # RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_VIA


class Routes:
    """Remember the way of the newest line, and notice when it is another."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._peer = ""
        self._way: Hashable = None

    def follow(self, lines: Sequence[Line]) -> None:
        """The lines in use may have changed; the newest counts."""
        line = lines[-1] if lines else None
        if line is self._line:
            return
        self._line = line
        self._peer = line.peer_address if isinstance(line, SocketLine) else ""
        self._way = way_to(self._peer)

    def moved(self) -> bool:
        """True if the way is another than when this was last asked, or than the line's first."""
        was, self._way = self._way, way_to(self._peer)
        return self._way != was


def way_to(address: str) -> Hashable:
    """How the kernel would send to an IP address; None if it would not, or does not say."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        destination = socket.inet_pton(family, address)
    except OSError:
        return None
    if sys.platform != "linux":
        return None
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(_question(family, destination))
            return read_way(kernel.recv(65536, socket.MSG_DONTWAIT))
    except OSError:
        return None


def read_way(datagram: bytes) -> Hashable:
    """What matters of the kernel's answer; None if it is none, or an error."""
    if len(datagram) < MESSAGE.size + ROUTE.size:
        return None
    length, kind, *_ = MESSAGE.unpack_from(datagram)
    if kind != _NEWROUTE:
        return None
    told = attributes(datagram[MESSAGE.size + ROUTE.size : length])
    return tuple(sorted((which, value) for which, value in told if which in _WAY))


def _question(family: int, destination: bytes) -> bytes:
    body = ROUTE.pack(family, 8 * len(destination), 0, 0, 0, 0, 0, 0, 0)
    body += (4 + len(destination)).to_bytes(2, sys.byteorder)
    body += _DESTINATION.to_bytes(2, sys.byteorder) + destination
    return MESSAGE.pack(MESSAGE.size + len(body), _GETROUTE, _REQUEST, 1, 0) + body
