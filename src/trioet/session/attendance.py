"""Whether a session's client is there, and for how long it has been away."""

from __future__ import annotations

import trio


class Attendance:
    """Is the client there? Knows when it has been away for too long, once it came."""

    def __init__(self) -> None:
        self.away_since: float | None = trio.current_time()
        """In Trio's clock; None while it is there."""
        self._changed = trio.lowlevel.ParkingLot()

    def note(self, present: bool) -> None:
        """The client came or went, or nothing of that kind happened."""
        if not present and self.away_since is None:
            self.away_since = trio.current_time()
        elif present:
            self.away_since = None
        self._changed.unpark_all()

    async def wait_deserted(self, linger_s: float) -> None:
        """Return when it has been away for so many seconds. Cancellation changes nothing."""
        while self.away_since is not None:
            await self._changed.park()
        while True:
            while self.away_since is None:
                await self._changed.park()
            with trio.move_on_after(linger_s) as patience:
                while self.away_since is not None:
                    await self._changed.park()
            if patience.cancelled_caught:
                return
