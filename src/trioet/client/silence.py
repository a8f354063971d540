"""What the user sees while nothing comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trioet.client.screen import Screen
from trioet.link.reconnect import NO_REPLY, Reconnector
from trioet.link.resumable import ResumableLink
from trioet.wire.messages import WindowSize, encode_terminal_info
from trioet.wire.packet import PacketType

STATUS_AFTER_S: Final = 1.0
"""Without an answer for this long, the user is told."""


class Silence:
    """A status line while the server is not heard, which goes without a trace."""

    def __init__(
        self,
        link: ResumableLink,
        reconnector: Reconnector,
        screen: Screen,
        host: str,
        login_needed: Callable[[], bool],
    ) -> None:
        self._link = link
        self._reconnector = reconnector
        self._screen = screen
        self._host = host
        self._login_needed = login_needed
        self._begun = trio.current_time()
        self._suspected = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()

    def suspected(self) -> None:
        """Something is wrong: if nothing is heard from now on, the user is to know."""
        self._suspected.set()

    def line_changed(self) -> None:
        """A line was attached, proven or lost, or something was answered."""
        self._changed.unpark_all()

    async def watch(self, window: Callable[[], WindowSize]) -> None:
        """Show the line, until cancelled. Costs no wake-up while all is well.

        ``window`` is what size the user's has now.
        """
        while True:
            since = await self._begin()
            while self._link.last_heard <= since:
                self._tell(window())
                await trio.sleep(1)
            self.over(window())

    async def announce(self, notice: Callable[[str], None]) -> None:
        """Tell in a line that it has begun, and in another that it is over: for who has no
        screen. Until cancelled; costs no wake-up while all is well."""
        while True:
            since = await self._begin()
            notice(f"{self._what()}{self._why()}; nothing is lost")
            while self._link.last_heard <= since:
                await self._changed.park()
            notice(f"trioet: {self._host} answers again")

    async def _begin(self) -> float:
        """Wait until there is something to tell; return since when nothing was heard."""
        while True:
            await self._suspected.wait()
            self._suspected = trio.Event()
            since = trio.current_time()
            await trio.sleep(STATUS_AFTER_S)
            if self._link.last_heard <= since:
                return since

    def over(self, size: WindowSize) -> None:
        """Take the line away."""
        if self._screen.hide_status():
            # What the line covered is the program's to draw: a change of size makes it.
            for each in (WindowSize(max(1, size.rows - 1), size.columns), size):
                self._link.send(PacketType.TERMINAL_INFO, encode_terminal_info(each))

    def _tell(self, size: WindowSize) -> None:
        if self._login_needed():
            rest = f"; Enter ~L lets ssh ask you to log in, Enter ~. disconnects{self._why()}"
        else:
            rest = f"{self._why()}; typing is kept, Enter ~. disconnects"
        text = self._what() + rest
        self._screen.show_status(text, size.rows, size.columns)

    def _what(self) -> str:
        silence = trio.current_time() - max(self._link.last_heard, self._begun)
        return f"trioet: no reply from {self._host} for {silence:.0f} s"

    def _why(self) -> str:
        reason = self._reconnector.reason
        return f" ({reason})" if reason != NO_REPLY else ""
