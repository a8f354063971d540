"""The roster: which client id is which session of this keeper."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from trioet.link.door import Arrival, Verdict

ARRIVALS = 8
"""Connections that may wait for a session to look at them."""


class Roster:
    """Client id -> the channel on which that session awaits its connections."""

    def __init__(self) -> None:
        self._arrivals: dict[bytes, trio.MemorySendChannel[Arrival]] = {}

    def __len__(self) -> int:
        return len(self._arrivals)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._arrivals)

    def __contains__(self, client_id: bytes) -> bool:
        return client_id in self._arrivals

    def add(self, client_id: bytes) -> trio.MemoryReceiveChannel[Arrival]:
        """Enter a session; return the channel on which its connections will arrive."""
        to_session, arrivals = trio.open_memory_channel[Arrival](ARRIVALS)
        self._arrivals[client_id] = to_session
        return arrivals

    def remove(self, client_id: bytes) -> None:
        """The session is over: its id leads nowhere any more."""
        self._arrivals.pop(client_id).close()

    def deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        """Hand a connection to the session it asks for.

        It is closed if too many wait there already, or the session is just ending: its
        client will come again.
        """
        to_session = self._arrivals.get(client_id)
        if to_session is None:
            return Verdict.UNKNOWN
        try:
            to_session.send_nowait(arrival)
        except (trio.WouldBlock, trio.BrokenResourceError):
            arrival[0].close()
        return Verdict.DELIVERED
