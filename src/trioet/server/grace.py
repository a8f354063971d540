"""Client ids that are to be spoken of in a certain way for a while, whoever's they were."""

from __future__ import annotations

from typing import Final

import trio

MOST_PER_USER: Final = 8192
"""Ids remembered for one user; the oldest of his own go first."""


class Grace:
    """Remember ids for some seconds, bounded for each user."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._users: dict[int, dict[bytes, float]] = {}

    def remember(self, user: int, client_id: bytes) -> None:
        """Remember the id from now on."""
        now = trio.current_time()
        mine = self._users.setdefault(user, {})
        mine.pop(client_id, None)
        mine[client_id] = now + self._seconds
        oldest = next(iter(mine))
        while len(mine) > MOST_PER_USER or mine[oldest] <= now:
            del mine[oldest]
            oldest = next(iter(mine))

    def forget(self, client_id: bytes) -> None:
        """Remember the id no longer."""
        for mine in self._users.values():
            mine.pop(client_id, None)
        self._users = {user: mine for user, mine in self._users.items() if mine}

    def __contains__(self, client_id: bytes) -> bool:
        now = trio.current_time()
        return any(mine.get(client_id, now) > now for mine in self._users.values())
