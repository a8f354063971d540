"""Where to go: ``[user@]host[:port]``, and all the ways to write an IPv6 address in it.

``port`` is the one of the trioet or ET server (specification 2.4), never of sshd.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trioet.errors import UsageError

FORBIDDEN: Final = frozenset("'`\"$\\;&<>|(){}[],")
"""As OpenSSH refuses them: they end up in ProxyCommand and `Match exec`, so in a shell."""

NOT_IPV6: Final = "this is no IPv6 address; to give one a port, write `[address]:port`"


class HostArgument(NamedTuple):
    """A destination as the user wrote it. ``host`` is without brackets."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user is not None else ""
        if self.port is None:
            return f"{user}{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}:{self.port}"


def parse_host(text: str) -> HostArgument:
    """Take ``[user@]host[:port]`` apart.

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
    host, port, host_start = _split_port(text, place, start)
    if not host:
        raise _error(text, host_start, "a host name is missing")
    _check(text, host, host_start, "host name")
    if ":" in host and not _is_ipv6(host):
        raise _error(text, host_start, NOT_IPV6)
    return HostArgument(host, user or None, port)


def _split_port(text: str, place: str, start: int) -> tuple[str, int | None, int]:
    """Return host, port, and the column of the host."""
    if place.startswith("["):
        end = place.find("]")
        if end < 0:
            raise _error(text, start, "this bracket is never closed")
        host, rest = place[1:end], place[end + 1 :]
        if rest and not rest.startswith(":"):
            raise _error(text, start + end + 1, "only a `:port` may follow the bracket")
        port = _port(text, rest[1:], start + end + 2) if rest else None
        return host, port, start + 1
    if place.count(":") >= 2 and _is_ipv6(place):
        return place, None, start
    host, colon, digits = place.rpartition(":")
    if not colon:
        return place, None, start
    if ":" in host and ("::" in host or not _is_ipv6(host)):
        raise _error(text, start, NOT_IPV6)
    return host, _port(text, digits, start + len(host) + 1), start


def _port(text: str, digits: str, start: int) -> int:
    if not digits:
        raise _error(text, start, "a port is missing after `:`")
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536):
        raise _error(text, start, f"`{digits}` is no port; ports go from 1 to 65535")
    return int(digits)


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
