"""Where an administrator lets relays lead: `trioet serve --no-relay` and `--relay-to`.

It binds those who use trioet's own keeper. A user with a shell can relay by other means, as
sshd_config(5) says of AllowTcpForwarding.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Final

from trioet.errors import UsageError
from trioet.wire.forward import Address

MAX_PATTERNS: Final = 256

_PATTERN: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:./%*]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>[0-9]{1,5}|\*))?"
)


@dataclass(frozen=True, slots=True)
class RelayPattern:
    """One place, or many: ``HOST[:PORT]``.

    HOST is a name with ``*`` and ``?``, an address, or a network like ``10.0.0.0/8``; an
    IPv6 one stands in brackets. Without a port, or with ``*``, all ports. What it is
    compared with is the place as the client gave it: a name is not looked up.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def matches(self, where: Address) -> bool:
        """True when a relay to ``where`` is meant."""
        if self.port not in (None, where.port):
            return False
        network, address = _network(self.host), _address(where.host)
        if network is not None:
            return address is not None and address in network
        # Names are the same in capitals, and with the dot at their end.
        host = where.host.lower().rstrip(".")
        return re.fullmatch(translate(self.host.lower().replace("[", "[[]")), host) is not None


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """Where relays may lead: anywhere, unless ``allowed`` is a list."""

    allowed: tuple[RelayPattern, ...] | None = None

    def allows(self, where: Address) -> bool:
        """True when a relay may lead there."""
        return self.allowed is None or any(pattern.matches(where) for pattern in self.allowed)

    @property
    def word(self) -> str:
        """What keepers are told of it, for their users: ``any``, ``some`` or ``none``."""
        return "any" if self.allowed is None else "some" if self.allowed else "none"


ANYWHERE: Final = RelayPolicy()
NOWHERE: Final = RelayPolicy(())


def parse_pattern(text: str) -> RelayPattern:
    """Read a pattern.

    Raises:
      UsageError: it makes no sense; says what would.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no place to relay to; write HOST or HOST:PORT, * for any")
    host, port = found["v6"] or found["host"], found["port"]
    if ("/" in host or found["v6"]) and _network(host) is None:
        raise UsageError(f"{text!r}: {host!r} is no address, nor a network like 10.0.0.0/8")
    if port in (None, "*"):
        return RelayPattern(host)
    if not 0 < int(port) < 65536:
        raise UsageError(f"{text!r}: ports go from 1 to 65535")
    return RelayPattern(host, int(port))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # ::ffff:10.0.0.1 leads to 10.0.0.1.
    return getattr(found, "ipv4_mapped", None) or found
