"""The line that says that nothing comes back, and goes without a trace.

We do not know what is on the user's screen, so nothing may be covered that cannot be
restored. On the main screen the line takes the row under the cursor, scrolled free if need
be: what moves up is where any output would have moved it. On the alternate screen it takes
the bottom row, and the program there is made to draw itself again afterwards.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_SAVE: Final = b"\x1b7"
_RESTORE: Final = b"\x1b8"
_REVERSE: Final = b"\x1b[0;7m"
_ERASE: Final = b"\x1b[0m\x1b[2K"


class StatusLine:
    """Draw the line, change it, take it away."""

    def __init__(self) -> None:
        self._place: bytes | None = None

    @property
    def shown(self) -> bool:
        """True while the line is on the screen."""
        return self._place is not None

    def show(self, text: str, rows: int, columns: int, alternate_screen: bool) -> bytes:
        """Return what draws ``text``, cut to the width of the screen."""
        free = b""
        if self._place is None:
            if alternate_screen:
                self._place = b"\x1b[%d;1H" % rows
            else:
                free = b"\x1bD\x1b[A"  # IND scrolls if we are at the bottom; back up
                self._place = b"\x1b[B\r"
        line = cut(text, columns - 1).encode()
        return free + _SAVE + self._place + _ERASE + _REVERSE + line + b"\x1b[0m" + _RESTORE

    def clear(self) -> bytes:
        """Return what takes the line away; b"" if there is none."""
        if self._place is None:
            return b""
        place, self._place = self._place, None
        return _SAVE + place + _ERASE + _RESTORE


def cut(text: str, width: int) -> str:
    """Cut to ``width`` character cells; wide characters take two, controls are dropped."""
    kept, used = [], 0
    for character in text:
        if not character.isprintable():
            continue
        cells = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if unicodedata.combining(character):
            cells = 0
        if used + cells > width:
            break
        kept.append(character)
        used += cells
    return "".join(kept)
