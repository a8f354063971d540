"""What the server tells beside the program's output, in the status line, for a moment.

As output takes that line away, it comes again after it; but not on the alternate screen, where
each time the program would have to draw anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trioet.client.screen import Screen

SHOWN_S: Final = 4.0
AGAIN_EVERY_S: Final = 0.5


class Notices:
    """One notice at a time: a newer one takes its place."""

    def __init__(
        self, screen: Screen, size: Callable[[], tuple[int, int]], hide: Callable[[], None]
    ) -> None:
        """``size`` is the terminal's rows and columns; ``hide`` takes the line away."""
        self._screen = screen
        self._size = size
        self._hide = hide
        self._text = ""
        self._told = trio.Event()

    def tell(self, text: str) -> None:
        """Show this soon."""
        self._text = text
        self._told.set()

    async def run(self) -> None:
        """Show what is told, until cancelled."""
        while True:
            await self._told.wait()
            self._told = trio.Event()
            self._screen.show_status(self._text, *self._size())
            with trio.move_on_after(SHOWN_S):
                while not self._told.is_set():
                    await trio.sleep(AGAIN_EVERY_S)
                    if not self._screen.alternate:
                        self._screen.show_status(self._text, *self._size())
            if not self._told.is_set():
                self._hide()
