"""Where to go: ``[user@]host[:port[,port]...]``, and all the ways to write an IPv6 address in it.

``port`` is the one of the trioet or ET server (specification 2.4), never of sshd. Several are
several doors to the same place: whichever works is taken.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trioet.errors import UsageError

FORBIDDEN: Final = frozenset("'`\"$\\;&<>|(){}[],")
"""As OpenSSH refuses them: they end up in ProxyCommand and `Match exec`, so in a shell."""

MAX_PORTS: Final = 8
"""Ports of one server: each is tried beside the others, again and again."""

NOT_IPV6: Final = "this is no IPv6 address; to give one a port, write `[address]:port`"


class HostArgument(NamedTuple):
    """A destination as the user wrote it. ``host`` is without brackets."""

    host: str
    user: str | None = None
    port: int | None = None
    more_ports: tuple[int, ...] = ()

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user is not None else ""
        if self.port is None:
            return f"{user}{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}:{','.join(map(str, (self.port, *self.more_ports)))}"


def parse_host(text: str) -> HostArgument:
    """Take ``[user@]host[:port[,port]...]`` apart.

    An IPv6 address may stand in brackets; without, a port can only follow one that is
    written out in full, as ET has it.

    Raises:
      UsageError: the text is none; names the column, counted from 1.
    """
    # As ssh does: a user may contain `@`, a host never does.
    user, at, place = text.rpartition("@")
    start = len(user) + len(at)
    if at and not user:
        raise _error(text, 0, "a user name is missing before `@`")
    if user:
        _check(text, user, 0, "user name")
    host, ports, host_start = _split_ports(text, place, start)
    if not host:
        raise _error(text, host_start, "a host name is missing")
    _check(text, host, host_start, "host name")
    if ":" in host and not _is_ipv6(host):
        raise _error(text, host_start, NOT_IPV6)
    return HostArgument(host, user or None, next(iter(ports), None), ports[1:])


def parse_ports(text: str) -> tuple[int, ...]:
    """Take ``port[,port]...`` apart.

    Raises:
      UsageError: these are no ports, or too many; names the column, counted from 1.
    """
    try:
        return _ports(text, text, 0)
    except _Misplaced as mistake:
        raise UsageError(f"port {text!r}, column {mistake.index + 1}: {mistake}") from None


def _split_ports(text: str, place: str, start: int) -> tuple[str, tuple[int, ...], int]:
    """Return host, ports, and the column of the host."""
    try:
        return _split(text, place, start)
    except _Misplaced as mistake:
        raise _error(text, mistake.index, str(mistake)) from None


def _split(text: str, place: str, start: int) -> tuple[str, tuple[int, ...], int]:
    if place.startswith("["):
        end = place.find("]")
        if end < 0:
            raise _error(text, start, "this bracket is never closed")
        host, rest = place[1:end], place[end + 1 :]
        if rest and not rest.startswith(":"):
            raise _error(text, start + end + 1, "only a `:port` may follow the bracket")
        ports = _ports(text, rest[1:], start + end + 2) if rest else ()
        return host, ports, start + 1
    if place.count(":") >= 2 and _is_ipv6(place):
        return place, (), start
    host, colon, digits = place.rpartition(":")
    if not colon:
        return place, (), start
    if ":" in host and ("::" in host or not _is_ipv6(host)):
        raise _error(text, start, NOT_IPV6)
    return host, _ports(text, digits, start + len(host) + 1), start


class _Misplaced(Exception):
    """A mistake, and its index in the whole text."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def _ports(text: str, listed: str, start: int) -> tuple[int, ...]:
    ports: list[int] = []
    for digits in listed.split(","):
        if not digits:
            before = f" after `{text[start - 1]}`" if start else ""
            raise _Misplaced(start, f"a port is missing{before}")
        if not (
            digits.isascii() and digits.isdigit() and len(digits) < 6 and 0 < int(digits) < 65536
        ):
            shown = digits if digits.isprintable() else ascii(digits)
            raise _Misplaced(start, f"`{shown}` is no port; ports go from 1 to 65535")
        port = int(digits)
        if port in ports:
            raise _Misplaced(start, f"port {port} is named twice")
        if len(ports) == MAX_PORTS:
            raise _Misplaced(start, f"more than {MAX_PORTS} ports")
        ports.append(port)
        start += len(digits) + 1
    return tuple(ports)


def _is_ipv6(text: str) -> bool:
    import ipaddress  # rarely needed, and start-up time is precious

    address, _, zone = text.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return ":" not in zone  # or a port would pass for part of the zone


def _check(text: str, part: str, start: int, kind: str) -> None:
    if part.startswith("-"):
        raise _error(text, start, f"a {kind} cannot begin with `-`")
    for index, char in enumerate(part):
        if char in FORBIDDEN or char.isspace() or not char.isprintable():
            raise _error(text, start + index, f"{char!r} cannot be in a {kind}")


def _error(text: str, index: int, problem: str) -> UsageError:
    return UsageError(f"host {text!r}, column {index + 1}: {problem}")
