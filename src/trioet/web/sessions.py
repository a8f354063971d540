"""Where the sessions of visitors come from; the seam between the web and who keeps sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from trioet.bootstrap.credentials import Credentials
from trioet.errors import StepFailed

Environment = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is there, for whoever has its credentials."""

    credentials: Credentials
    wait_over: Callable[[], Awaitable[None]]
    """Returns when the session is over; runs in a task of the web's."""


def no_shares() -> StepFailed:
    """The error of who comes with a link to a shared session where there are none."""
    hint = "`trioet share` prints links to a `trioet web` on the session's own host"
    return StepFailed("share", "no sessions are shared here", hint)


class OneSession:
    """Sessions of which there is one, opened before anybody came, whose key is forgotten here."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def open(self, arguments: Sequence[str], environment: Environment, /) -> Opened:
        """Refuse.

        Raises:
          StepFailed: always.
        """
        hint = "its link is what `trioet web --e2e` has printed"
        raise StepFailed("session", "there is one session here, for who has its link", hint)

    async def take(self, ticket: str, source: str) -> Mapping[str, object]:
        """Refuse, as :func:`no_shares` says."""
        raise no_shares()

    async def dial(self, request: bytes) -> trio.abc.Stream:
        """See :class:`Sessions`."""
        return await self._sessions.dial(request)


class Sessions(Protocol):
    """Open sessions for visitors, and connect to them."""

    async def open(self, arguments: Sequence[str], environment: Environment, /) -> Opened:
        """Open a session in which the operator's command runs, with further arguments, and, on this
        machine, further variables.

        Raises:
          LocalError: there is none to be had.
        """

    async def take(self, ticket: str, source: str) -> Mapping[str, object]:
        """Exchange the ticket of a link to a shared session, for a browser at ``source``, once.

        Raises:
          LocalError: there is no such link, or no more.
        """

    async def dial(self, request: bytes) -> trio.abc.Stream:
        """Connect to where the visitors' sessions are reached, and say a visitor's first words:
        a whole ConnectRequest, or what never becomes one. Cancellation leaves nothing open.

        Raises:
          FileNotFoundError, ConnectionRefusedError: there is no keeper any more.
          OSError: nobody answers.
        """
