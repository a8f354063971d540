"""Who is at the other end of a connection that says nothing of that itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Visitor:
    """A client whose connection is carried by something else than TCP."""

    client: tuple[str, int]
    """Address and port from which it came."""
    local: tuple[str, int]
    source: str
    """As :func:`trioet.link.line.source_of` names it."""
    proven: Callable[[], Awaitable[None]]
    """Returns when the client is known to be at that address; nothing is dialled before.

    Raises LineBroken if that will never be.
    """
