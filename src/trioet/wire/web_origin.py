"""Who may ask: which names this server goes by, and whose pages may speak to it.

A page of somebody else's may send requests here in its visitor's name (CSRF, cross-site
WebSocket hijacking): its Origin tells. Or it may have its own name lead here (DNS rebinding):
then Host tells, for that is the one name which its browser believes to be asking.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def host_name(authority: str) -> str:
    """The name or address in a Host field, in small letters; empty if that is none."""
    found = _AUTHORITY.fullmatch(authority)
    return found[1].strip("[]").rstrip(".").lower() if found else ""


def is_our_host(authority: str, names: Collection[str]) -> bool:
    """True if a Host field names this server.

    An IP address always does: nobody can have one lead elsewhere. So does localhost, which
    browsers do not look up (RFC 6761, 6.3). Every other name has to be among ``names``.
    """
    name = host_name(authority)
    if not name:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_our_origin(
    origin: str, host: str, allowed: re.Pattern[str] | None, spoken: str = ""
) -> bool:
    """True if a page of that Origin may speak to the server that it calls ``host``.

    That is one of the server's own, or one that ``allowed`` matches as a whole. The scheme is
    compared if it is known what is ``spoken``: else a proxy may speak TLS for us.
    """
    if allowed is not None:
        return allowed.fullmatch(origin) is not None
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False  # "null" too, which a sandboxed frame says
    if spoken and scheme != spoken:
        return False
    default = _DEFAULT_PORTS[scheme]
    ours = _split(host, default)
    return ours is not None and ours == _split(authority, default)


def _split(authority: str, default: str) -> tuple[str, str] | None:
    found = _AUTHORITY.fullmatch(authority)
    return (found[1].lower(), found[2] or default) if found else None
