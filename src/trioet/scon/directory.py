"""Who holds which session: here, or a proxy elsewhere.

A server asks its directory for the id of each new session, and where a session is that it
does not hold itself. The one in this module knows of this process alone.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final, Protocol

LAST_ID: Final = 2**32 - 1
"""Ids are 1 to this (goscon's description, 2.2)."""


class Holder(Protocol):
    """Another server, which holds a session."""

    async def take(self, sock: socket.socket, preface: bytes) -> None:
        """Hand a connection to it, with what was read from it so far: a whole frame at least.

        Owns the socket from the call on, and closes it whatever comes of it, cancellation
        included. Returns when nothing is left to be done for it here.

        Raises:
          OSError: the holder could not be reached.
        """


class Directory(Protocol):
    """Gives ids away, and finds who has them."""

    async def claim(self) -> int:
        """A session id, from 1 to LAST_ID, that nobody has, and nobody had lately.

        Cancellation gives away none.

        Raises:
          OSError: ids cannot be had now. The client is sent away to try again.
        """

    def release(self, session_id: int) -> None:
        """The session is over. Does not wait: what takes time is done later."""

    async def find(self, session_id: int) -> Holder | None:
        """Who else holds this session; None if nobody does.

        Cancellation changes nothing.

        Raises:
          OSError: it cannot be said now. The client is sent away to try again.
        """


class OwnDirectory:
    """One process, and nobody else.

    Ids are counted upwards from a random one: none comes again before all others have had
    their turn, and a restarted server does not begin with those that clients still know.
    """

    def __init__(self, first: int | None = None) -> None:
        self._next = first or 1 + secrets.randbelow(LAST_ID)
        self._used: set[int] = set()

    def __repr__(self) -> str:
        return f"<OwnDirectory used={len(self._used)} next={self._next}>"

    async def claim(self) -> int:
        """The next id that is free."""
        while True:
            session_id, self._next = self._next, self._next % LAST_ID + 1
            if session_id not in self._used:
                self._used.add(session_id)
                return session_id

    def release(self, session_id: int) -> None:
        """The session is over."""
        self._used.discard(session_id)

    async def find(self, session_id: int) -> None:
        """There is nobody else."""
        return
