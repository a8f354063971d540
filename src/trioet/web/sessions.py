"""Where the sessions of visitors come from; the seam between the web and who keeps sessions."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trioet.bootstrap.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is there, for whoever has its credentials."""

    credentials: Credentials
    wait_over: Callable[[], Awaitable[None]]
    """Returns when the session is over; runs in a task of the web's."""


class Sessions(Protocol):
    """Open sessions for visitors, and connect to them."""

    async def open(self, arguments: Sequence[str]) -> Opened:
        """Open a session in which the operator's command runs, with further arguments.

        Raises:
          LocalError: there is none to be had.
        """

    async def take(self, ticket: str, source: str) -> Mapping[str, object]:
        """Exchange the ticket of a link to a shared session, for a browser at ``source``, once.

        Raises:
          LocalError: there is no such link, or no more.
        """

    async def dial(self) -> socket.socket:
        """Connect to where the visitors' sessions are reached; non-blocking.

        Raises:
          OSError: nobody is there.
        """
