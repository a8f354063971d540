"""Where a session goes: the backends that a client's target names, and the way to one of them.

goscon's rules (its description, 5.3): hosts of the target's name by weight, else the
resolver, and with no name any host. Better than its: the weights are exact, a host that
does not answer is passed over for the next, names are resolved at every connect, and a
name that nobody knows leads nowhere unless the configuration says so; a stranger's typo
reaches no backend by chance.
"""

from __future__ import annotations

import logging
import random
import re
import socket
from collections.abc import Iterable
from typing import Final

import trio

from trioet.errors import LocalError
from trioet.link.line import SocketLine
from trioet.scon.announcing import Announce
from trioet.scon.config import Host, UpstreamOption
from trioet.scon.server import Backend, Call

log = logging.getLogger(__name__)

DIAL_DEADLINE_S: Final = 60.0
"""For all hosts of a target together, the wait for a turn included."""

RESTS_S: Final = 5.0
"""A host that could not be reached is tried after the others for so long."""

MAX_RESTING: Final = 1024
"""Hosts of which that is remembered; names that clients make up can be any number."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
"""What a client may contribute to a host's name: labels (RFC 1035, 2.3.4, and _)."""

MAX_NAME: Final = 200


class NoTarget(LocalError):
    """Nothing has the name that a client asks for."""


class Targets:
    """The backends of one configuration. A reload makes another; dials under way go on."""

    def __init__(self, hosts: Iterable[Host], option: UpstreamOption, announce: Announce) -> None:
        self._hosts = tuple(hosts)
        self._option = option
        self._pattern = re.compile(option.resolv.pattern)
        self._announce = announce
        self._turns: dict[tuple[str, int], trio.CapacityLimiter] = {
            host.addr: trio.CapacityLimiter(option.max_connects) for host in self._hosts
        }
        # Of all names that the resolver makes: there may be many, of one service.
        self._resolved_turns = trio.CapacityLimiter(option.max_connects)
        self._resting: dict[tuple[str, int], float] = {}

    def __repr__(self) -> str:
        return f"<Targets hosts={len(self._hosts)} resolver={bool(self._option.resolv.port)}>"

    def choose(self, target: bytes) -> list[Host]:
        """The hosts for a target, in the order in which they are to be tried.

        That the first of them is a certain one is as likely as its weight says.

        Raises:
          NoTarget: there is none.
        """
        name = target.decode("latin-1")
        found = [host for host in self._hosts if not name or host.name == name]
        if not found:
            found = [*self._resolved(name)]
        if not found and self._option.unknown_target == "any":
            found = [*self._hosts]
        if not found:
            raise NoTarget(f"no host is called {name[:MAX_NAME]!a}")
        now = trio.current_time()
        # The first of several that each wait for a random time, shorter by weight.
        return sorted(
            found,
            key=lambda host: (
                self._resting.get(host.addr, now) > now,
                random.expovariate(host.weight if host.weight > 0 else 100),
            ),
        )

    def _resolved(self, name: str) -> Iterable[Host]:
        resolv = self._option.resolv
        good = name and len(name) <= MAX_NAME and _NAME.fullmatch(name)
        if resolv.port and good and self._pattern.search(name):
            yield Host(name, (f"{resolv.prefix}{name}{resolv.suffix}", resolv.port))

    async def dial(self, call: Call) -> Backend:
        """Connect to a backend for ``call``. Cancellation leaves nothing open.

        Raises:
          NoTarget: nothing has that name.
          LocalError: what is to be announced to it could not be made.
          OSError: no host of that name answers, or not in DIAL_DEADLINE_S.
        """
        failures: list[str] = []
        with trio.move_on_after(DIAL_DEADLINE_S):
            for host in self.choose(call.target):
                announcement = self._announce(call, self._proxy_protocol(host))
                try:
                    sock = await self._reach(host)
                except OSError as error:
                    failures.append(f"{_named(host.addr)}: {error.strerror or error}")
                    self._let_rest(host)
                else:
                    self._resting.pop(host.addr, None)
                    return Backend(SocketLine(sock, _named(host.addr)), announcement)
        raise OSError("; ".join(failures) or f"no turn within {DIAL_DEADLINE_S:g} s")

    def _proxy_protocol(self, host: Host) -> int:
        own = host.proxy_protocol
        return self._option.proxy_protocol if own is None else own

    def _let_rest(self, host: Host) -> None:
        self._resting.pop(host.addr, None)
        self._resting[host.addr] = trio.current_time() + RESTS_S
        if len(self._resting) > MAX_RESTING:
            del self._resting[next(iter(self._resting))]

    async def _reach(self, host: Host) -> socket.socket:
        """Connect to one of the host's addresses, when it is our turn.

        So many at once and no more: a backend that has just come back is not run over by
        all who waited for it.

        Raises:
          OSError: the name does not resolve, or no address answers; the last one's reason.
        """
        async with self._turns.get(host.addr, self._resolved_turns):
            error: OSError = OSError(f"no answer within {self._option.connect_timeout:g} s")
            with trio.move_on_after(self._option.connect_timeout):
                addresses = await _addresses(host.addr)
                random.shuffle(addresses)
                for family, address in addresses:
                    # One that swallows must leave time for the others.
                    share = self._option.connect_timeout / len(addresses)
                    with trio.move_on_after(share):
                        try:
                            return await _connected(family, address)
                        except OSError as failure:
                            error = failure
            raise error


async def _addresses(host: tuple[str, int]) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = await trio.socket.getaddrinfo(*host, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # of a label that no name has, empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name") from error
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


async def _connected(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    connecting = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    # Trio gives its socket's inside to nobody, and a line sends without a checkpoint.
    return socket.socket(fileno=connecting.detach())


def _named(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
