"""Who may send now, and who waits for it.

Keystrokes and what is on the screen go first, bulk when nothing else waits. What is in flight
to a peer that acknowledges is bounded, and so is what is kept for one that is away.
"""

from __future__ import annotations

from typing import Final

import trio

from trioet.errors import SessionUsedUp
from trioet.link.line import NOTSENT_LOWAT
from trioet.link.lines import Lines
from trioet.link.pace import Pace
from trioet.link.packet_attachment import PacketAttachment
from trioet.wire.backed import MAX_SEQUENCE, BackedWriter, ReplayBudget

WINDOW: Final = 256 * 1024
"""Bytes in flight to a peer that acknowledges. At a terminal that shows 5 MB/s this is
50 ms of output after Ctrl-C; over 100 ms of round trip it allows 2.5 MB/s."""

LAST_PACKETS: Final = 65536
"""How many packets before the last that a session can count it is ended: room for what is
still to be said."""


class Room:
    """The room that a link has for more packets."""

    def __init__(
        self,
        writer: BackedWriter,
        lines: Lines[PacketAttachment],
        budget: ReplayBudget,
        max_kept: int,
    ) -> None:
        self.peer_acknowledges = False
        self.pace = Pace()
        self._writer = writer
        self._lines = lines
        self._budget = budget
        self._max_kept = max_kept
        self._room = trio.lowlevel.ParkingLot()
        self._bulk_room = trio.lowlevel.ParkingLot()
        self._waiting = 0
        """Tasks in :meth:`wait`: bulk lets them go first."""

    def __repr__(self) -> str:
        return f"<Room waiting={self._waiting} {self.pace!r}>"

    def has_room(self) -> bool:
        """True when the next packet would be sent soon, or may be kept."""
        if self._used_up() or self._budget.exceeded_by(self._writer.kept_bytes):
            return False
        proven = self._lines.proven  # a stranger's line that is stuck must not stop the session
        if proven is None:
            return self._writer.kept_bytes < self._max_kept
        if self.peer_acknowledges:
            if self._writer.unacknowledged_bytes < NOTSENT_LOWAT:
                return True  # not worth asking the kernel
            if self._writer.unacknowledged_bytes - self.pace.in_flight >= WINDOW:
                return False
        return proven.is_writable()

    async def wait(self) -> None:
        """Wait until :meth:`has_room`. Cancellation changes nothing.

        Raises:
          SessionUsedUp: there will be none; few packets are left to say so.
        """
        self._waiting += 1
        try:
            while not self.has_room():
                self._check_not_used_up()
                await self._room.park()
        finally:
            self._waiting -= 1
            self._bulk_room.unpark_all()

    def has_bulk_room(self) -> bool:
        """True when bulk would be sent now, and nothing waits that goes before it."""
        if self._waiting or not self.pace.has_room():
            return False
        if self._used_up() or self._budget.exceeded_by(self._writer.kept_bytes):
            return False
        proven = self._lines.proven
        return proven is not None and proven.is_writable()

    async def wait_bulk(self) -> None:
        """Wait until :meth:`has_bulk_room`. Cancellation changes nothing.

        Raises:
          SessionUsedUp: as :meth:`wait`.
        """
        while not self.has_bulk_room():
            self._check_not_used_up()
            await self._bulk_room.park()

    async def changed(self) -> None:
        """Wait until there may be room that was not there before, or more was acknowledged."""
        await self._room.park()

    def look(self) -> None:
        """Something changed: wake who waits."""
        self._room.unpark_all()
        self.look_for_bulk()

    def look_for_bulk(self) -> None:
        """Something changed for bulk: wake who waits to send some."""
        self._bulk_room.unpark_all()

    def _used_up(self) -> bool:
        return self._writer.sent >= MAX_SEQUENCE - LAST_PACKETS

    def _check_not_used_up(self) -> None:
        if self._used_up():
            raise SessionUsedUp("this session has sent as many packets as it can count")
