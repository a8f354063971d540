"""Reach a host: every address it has, raced; without those where another server was met."""

from __future__ import annotations

import os
import socket
from typing import Final
from weakref import WeakKeyDictionary

import trio

from trioet.errors import TrioetError
from trioet.link.line import Line, SocketLine

ANY_LOCAL: Final = {"any": None, "inet": "0.0.0.0", "inet6": "::"}
"""Where to connect from, by ssh's AddressFamily: it leaves no choice of the other family."""


FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

OTHER_DEADLINE_S: Final = 3.0
"""For each of those that are tried one after the other; a lost SYN is repeated after 1 s."""


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
    return await _line(stream, f"{host} port {port}")


async def _line(stream: trio.SocketStream, name: str) -> SocketLine:
    # Trio offers no way to its socket's inside, and a line wants one that sends without
    # a checkpoint: so a second descriptor for the same connection.
    sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
    with trio.CancelScope(shield=True):
        await stream.aclose()
    return SocketLine(sock, name)


class NoOtherAddress(TrioetError):
    """A host has none but those that led to another server."""


class HostDial:
    """One port of a host, whose addresses may lead to several machines: of a cluster, one of
    which ssh has chosen."""

    def __init__(self, host: str, port: int, address_family: str = "any") -> None:
        self._host = host
        self._port = port
        self._address_family = address_family
        self._avoided: set[str] = set()
        self._addresses: WeakKeyDictionary[Line, str] = WeakKeyDictionary()
        """Where our lines lead: once closed they do not tell."""

    def avoid(self, line: Line) -> bool:
        """Another server is at the end of this line: leave its address out from now on.

        Returns True if the host may have others.
        """
        address = self._addresses.get(line, "")
        if address in ("", self._host) or address in self._avoided:
            return False
        self._avoided.add(address)
        return True

    async def dial(self) -> SocketLine:
        """As :func:`trioet.link.dial.dial`; with addresses to avoid, one other after the other.

        Raises:
          OSError: the name does not resolve, or no address answers.
          NoOtherAddress: there is none. The next time all are tried again.
        """
        if not self._avoided:
            line = await dial(self._host, self._port, self._address_family)
        else:
            line = await self._dial_others()
        self._addresses[line] = line.peer_address
        return line

    async def _dial_others(self) -> SocketLine:
        addresses = await self._others()
        failure: OSError | None = None
        for address in addresses:
            try:
                with trio.fail_after(OTHER_DEADLINE_S):
                    stream = await trio.open_tcp_stream(address, self._port)
            except trio.TooSlowError:
                failure = TimeoutError("connection timed out")
            except OSError as error:
                failure = error
            else:
                return await _line(stream, f"{self._host} port {self._port}")
        if failure is not None:
            raise failure
        self._avoided.clear()
        raise NoOtherAddress(f"{self._host} has no other address")

    async def _others(self) -> list[str]:
        family = FAMILIES.get(self._address_family, socket.AF_UNSPEC)
        found = await trio.socket.getaddrinfo(self._host, self._port, family, socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(item[4][0]) for item in found)
        return [address for address in addresses if address not in self._avoided]
