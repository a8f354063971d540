"""What the user sees: the program's output, and over it, now and then, our status line.

Output is written by the task that received it, so that a key's echo crosses no queue. What
the terminal does not take at once waits for whoever holds the turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from trioet.client.console import Console
from trioet.client.modes import TerminalModes
from trioet.client.status import StatusLine
from trioet.errors import LocalError


class Screen:
    """The output end of a console.

    ``on_shown`` hears how many bytes were dealt with, ``on_gone`` that nothing can be shown any
    more, and why: from then on everything is dropped, and counts as shown.
    """

    def __init__(
        self,
        console: Console,
        on_shown: Callable[[int], None],
        on_gone: Callable[[LocalError], None],
    ) -> None:
        self._console = console
        self._on_shown = on_shown
        self._on_gone = on_gone
        self._is_gone = False
        self._modes = TerminalModes()
        self._status = StatusLine()
        self._came = b""
        self._unshown = bytearray()
        """Bytes that the terminal has not taken."""
        self._owed = 0
        """Bytes that came and ``on_shown`` has not heard of."""
        self._keeps_up = True
        """The terminal has taken everything since it last took a moment too long."""
        self._turn = trio.Lock()
        self._behind = trio.Event()

    def take(self, output: bytes) -> None:
        """Output of the program, to be shown by :meth:`show`."""
        self._came += output
        self._owed += len(output)

    @property
    def behind(self) -> bool:
        """True while the terminal has not taken everything."""
        return bool(self._unshown)

    def show(self) -> None:
        """Show what came, as far as the terminal takes it now."""
        if not self._came:
            return
        output, self._came = self._came, b""
        if self._console.is_tty_out:
            output = self._modes.feed(output)
        self._unshown += output
        if not self._turn.locked():
            self._write()
        if self._unshown:
            self._behind.set()

    async def show_the_rest(self) -> None:
        """Show everything, however long the terminal takes. Callers come one after the other.

        Cancellation leaves it to whoever comes next.
        """
        async with self._turn:
            while self._unshown:
                await self._console.wait_writable()
                self._write()

    async def keep_showing(self) -> None:
        """Show what the terminal does not take at once, again and again, until cancelled."""
        while True:
            await self._behind.wait()
            self._behind = trio.Event()
            await self.show_the_rest()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Within it nothing is shown: the user writes a line to us."""
        async with self._turn:
            yield
        self._behind.set()

    def _write(self) -> None:
        taken = 0
        with memoryview(self._unshown) as unshown:
            while True:
                with unshown[taken:] as rest:
                    part = self._put(rest)
                taken += part
                if taken == len(unshown):
                    self._keeps_up = True
                    break
                self._keeps_up = self._keeps_up and part > 0 and self._console.takes_more()
                if not self._keeps_up:
                    break
        del self._unshown[:taken]
        # What is shown may be a little more or less than what came: modes.py holds some back.
        dealt_with = min(taken, self._owed) if self._unshown else self._owed
        self._owed -= dealt_with
        self._on_shown(dealt_with)

    def _put(self, data: bytes | memoryview) -> int:
        if not self._is_gone:
            try:
                return self._console.write_nowait(data)
            except LocalError as error:
                self._is_gone = True
                self._on_gone(error)
        return len(data)

    def restore(self) -> None:
        """Leave the terminal as a shell expects it."""
        rest = self._status.clear() + self._modes.take_held() + self._modes.reset_sequence()
        if rest and self._console.is_tty_out:
            self._put(rest)

    @property
    def alternate(self) -> bool:
        """True while the far side shows the alternate screen."""
        return self._modes.alternate_screen

    # The status line

    def show_status(self, text: str, rows: int, columns: int) -> None:
        """Show a line of ours, unless it would fall into the midst of something."""
        modes = self._modes
        if not (self._console.is_tty_out and modes.interruptible):
            return
        if not self._unshown and not self._turn.locked():
            line = self._status.show(text, rows, columns, modes.alternate_screen, modes.text_below)
            self._put(line)

    def hide_status(self) -> bool:
        """Take it away; return whether the program must draw what it covered."""
        if not self._status.shown:
            return False
        self._put(self._status.clear())
        return self._status.needs_redraw
