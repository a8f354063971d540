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

    def suspected(self) -> None:
        """Something is wrong: if nothing is heard from now on, the user is to know."""
        self._suspected.set()

    async def watch(self, window: Callable[[], WindowSize]) -> None:
        """Show the line, until cancelled. Costs no wake-up while all is well.

        ``window`` is what size the user's has now.
        """
        while True:
            await self._suspected.wait()
            self._suspected = trio.Event()
            since = trio.current_time()
            await trio.sleep(STATUS_AFTER_S)
            while self._link.last_heard <= since:
                self._tell(window())
                await trio.sleep(1)
            self.over(window())

    def over(self, size: WindowSize) -> None:
        """Take the line away."""
        if self._screen.hide_status():
            # What the line covered is the program's to draw: a change of size makes it.
            for each in (WindowSize(max(1, size.rows - 1), size.columns), size):
                self._link.send(PacketType.TERMINAL_INFO, encode_terminal_info(each))

    def _tell(self, size: WindowSize) -> None:
        silence = trio.current_time() - max(self._link.last_heard, self._begun)
        reason = self._reconnector.reason
        why = f" ({reason})" if reason != NO_REPLY else ""
        what = f"trioet: no reply from {self._host} for {silence:.0f} s"
        if self._login_needed():
            text = f"{what}; Enter ~L lets ssh ask you to log in, Enter ~. disconnects{why}"
        else:
            text = f"{what}{why}; typing is kept, Enter ~. disconnects"
        self._screen.show_status(text, size.rows, size.columns)
