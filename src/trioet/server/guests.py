"""The guests of a keeper's user: whose sessions are theirs, and the door that they come by.

That door is a Unix socket in the user's private directory, so whoever serves the web brings
them there without a port being opened. It leads to no other session than a guest's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.link.door import Arrival, Deliver, Door, Verdict
from trioet.server.places import guests_socket

MAX_GUESTS: Final = 250
"""Sessions of guests in one keeper."""

BACKLOG: Final = 64

HELD: Final = 64 * 1024
"""Bytes that the kernel holds on their way to who serves the web; it doubles that. With a quarter,
keeper and server wait for each other all the time: 44 MB/s instead of 54."""


class Guests:
    """The ids of guests' sessions, and their door, opened for the first of them."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver_to_session = deliver
        self._sessions: dict[bytes, trio.socket.SocketType | None] = {}
        """By client id: the connection by which one was asked for, where somebody listens to it."""
        self._door = Door(self._deliver)
        self._is_open = False

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, client_id: bytes) -> bool:
        return client_id in self._sessions

    def add(self, client_id: bytes) -> None:
        """A session is a guest's."""
        self._sessions[client_id] = None

    def discard(self, client_id: bytes) -> None:
        """A session is over; it need not have been a guest's."""
        connection = self._sessions.pop(client_id, None)
        if connection is not None:
            connection.close()

    def keep(self, client_id: bytes, connection: trio.socket.SocketType) -> bool:
        """Own the connection, and close it when the session of that guest is over. False if it
        is over already."""
        if client_id not in self._sessions:
            return False
        self._sessions[client_id] = connection
        return True

    def open_door(self, start: Callable[..., object]) -> str:
        """Have the door served by a task that ``start`` starts; return the path of its socket.

        Raises:
          OSError: it cannot be had.
        """
        path = guests_socket()
        if not self._is_open:
            with suppress(FileNotFoundError):
                os.unlink(path)  # in our private directory, and of a keeper that has gone
            listener = socket.socket(socket.AF_UNIX)
            try:
                listener.bind(path)
                os.chmod(path, 0o600)
                listener.listen(BACKLOG)
            except OSError:
                listener.close()
                raise
            self._is_open = True
            start(self._door.serve, listener)
        return path

    def _deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        if client_id not in self._sessions:
            return Verdict.UNKNOWN
        # What the kernel holds cannot be overtaken, and on a Unix socket nothing else limits it.
        arrival[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HELD)
        return self._deliver_to_session(client_id, arrival)
