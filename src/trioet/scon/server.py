"""SconServer: goscon's place, between clients that come and go and backends that must not notice.

The interface, first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from trioet.link.line import Line

HIDE_ADDRESS: Final = 1
"""Bit of a request's flags: the backend shall not be told who the client is (2.2)."""


@dataclass(frozen=True)
class Call:
    """A new session: who wants to go where."""

    target: bytes
    """The name that the client asks for; may be empty, and anything."""
    flags: int
    client: tuple[str, int]
    """Address and port from which the client came."""
    local: tuple[str, int]
    """Address and port at which it arrived."""

    @property
    def hides_address(self) -> bool:
        """True if the backend shall not be told :attr:`client`."""
        return bool(self.flags & HIDE_ADDRESS)


class Backend(NamedTuple):
    """A connection to what the client asked for."""

    line: Line
    announcement: bytes = b""
    """Goes first: a PROXY line, or sproto's."""


Dial: TypeAlias = Callable[[Call], Awaitable[Backend]]
"""Raises OSError, LineBroken or TrioetError if no backend can be had: the client then sees the end
of its session. May wait for one; it is cancelled when the client is given up. What it opens
belongs to the session."""


class Ended(Enum):
    """Why a session ended."""

    BACKEND_CLOSED = "backend_closed"
    BACKEND_FAILED = "backend_failed"
    NO_BACKEND = "no_backend"
    NOT_RESUMED = "not_resumed"
    CLIENT_CLOSED = "client_closed"
    KICKED = "kicked"
    STOPPED = "stopped"


# class SconServer:
#     def __init__(self, dial: Dial, policy: Policy = Policy(), *,
#                  directory: Directory | None = None, counters: Counters | None = None): ...
#     policy: Policy            -- may be replaced (reload); what is new obeys it
#     dial: Dial                -- likewise
#     counters: Counters
#     async def serve(self, listener: socket.socket, accepting: trio.CancelScope | None = None)
#         accept until cancelled; closes the listener. Cancelling only `accepting` closes the
#         listener and returns when the sessions that began here are over.
#     async def admit(self, sock: socket.socket, preface: bytes = b"") -> None
#         a connection that came another way (a Holder of another process): as if accepted.
#     def sessions(self) -> list[SessionFacts]   -- for management
