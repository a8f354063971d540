"""How many descriptors this process may have: all that the machine allows, less a reserve.

The reserve is for what keeps sessions alive, connections above all; tunnels may have the
rest. The user's programs get the limit that they would have had: some still use select(2),
which knows no descriptor beyond 1023.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import Final

LEAST_RESERVED: Final = 32
"""A client with a few tunnels has twenty open before anybody connects to them."""

RESERVED_SHARE: Final = 4
"""One of so many that the limit allows is not for tunnels either."""

_usual: tuple[int, int] | None = None


def raise_limit() -> None:
    """Allow this process as many as it may allow itself (getrlimit(2))."""
    global _usual
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = usual[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        _usual = usual


def give_usual_limit(pid: int) -> None:
    """Give a program that we have just started the limit that we had."""
    if _usual is not None:
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _usual)


def for_tunnels() -> int:
    """How many descriptors all tunnels of this process may have together."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - max(LEAST_RESERVED, limit // RESERVED_SHARE)
