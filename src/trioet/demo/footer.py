"""The demo's own line at the foot of the screen, below the session's."""

from __future__ import annotations

from trioet.client.status import cut


class Footer:
    """Keep the last row of a terminal for ourselves.

    The session is told of one row less, and scrolls above the line.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._rows = rows
        self._columns = columns

    def open(self) -> bytes:
        """Free the last row, without losing what is on it."""
        return b"\r\n\x1b[A" + self._fence()

    def resize(self, rows: int, columns: int) -> bytes:
        """The window has another size."""
        self._rows, self._columns = rows, columns
        return self._fence()

    def draw(self, text: str) -> bytes:
        """Show ``text``."""
        line = cut(text, self._columns - 1).ljust(self._columns - 1).encode()
        return b"\x1b7\x1b[%d;1H\x1b[0;7m%b\x1b[0m\x1b8" % (self._rows, line)

    def close(self) -> bytes:
        """Give the row back."""
        return b"\x1b7\x1b[r\x1b[%d;1H\x1b[2K\x1b8" % self._rows

    def _fence(self) -> bytes:
        return b"\x1b7\x1b[1;%dr\x1b8" % max(1, self._rows - 1)
