"""The line that says that nothing comes back, and goes without a trace.

We do not know what is on the user's screen, so nothing may be covered that cannot be
restored. On the main screen the line is a row of its own, inserted below the cursor and
deleted again: what is below moves down and back. For the row to have a place, the screen
scrolls by one where the cursor is at the bottom or text may be below it; what scrolls away
goes where all output goes. On the alternate screen, where nothing scrolls, the line takes
the bottom row, and the program there has to draw itself again afterwards.

The cursor is saved and restored by DECSC and DECRC, which keep its colours, character sets
and origin mode too. Each draw repeats the step that makes sure of a row below the cursor:
the window may have shrunk since the last one.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_ROW_BELOW: Final = b"\x1bD\x1b[A"
"""IND, which scrolls when at the bottom; and back up."""

_ROW_AT_BOTTOM: Final = b"\x1bM\x1bD\x1b7\x1b[999B\x1bD\x1b8\x1b[A"
"""Scroll the whole screen, and follow with the cursor. RI and IND before that change
nothing, but take the cursor off the top row, from where it could not follow."""

_SAVE: Final = b"\x1b7"
_RESTORE: Final = b"\x1b8"
_PLAIN: Final = b"\x0f\x1b(B\x1b[m"
_REVERSE: Final = b"\x1b[7m"
_ERASE_REST: Final = b"\x1b[m\x1b[K"
_INSERT_ROW: Final = b"\x1b[L"
_DELETE_ROW: Final = b"\x1b[M"


class StatusLine:
    """Draw the line, change it, take it away. Writes nothing itself.

    Nothing else may reach the terminal while the line is shown.
    """

    def __init__(self) -> None:
        self._shown = False
        self._bottom: int | None = None
        self._needs_redraw = False

    @property
    def shown(self) -> bool:
        """True while the line is on the screen."""
        return self._shown

    @property
    def needs_redraw(self) -> bool:
        """True when the line last taken away covered a row of the alternate screen: only
        the program there can draw it again."""
        return self._needs_redraw

    def show(
        self,
        text: str,
        rows: int,
        columns: int,
        alternate_screen: bool,
        text_below: bool = False,
    ) -> bytes:
        """Return what draws ``text``, cut to leave the last column free; b"" where the
        screen is too small.

        ``text_below``: there may be text on the main screen below the cursor. Without, the
        bottom row is taken for empty.
        """
        if rows < 2 or columns < 2:
            return self.clear()
        bottom = rows if alternate_screen else None
        moved = b""
        if self._shown and bottom != self._bottom:
            moved = self.clear()
        first, self._shown, self._bottom = not self._shown, True, bottom
        self._needs_redraw = False
        scroll = insert = b""
        if first and bottom is None:
            scroll = _ROW_AT_BOTTOM if text_below else b""
            insert = _INSERT_ROW
        line = _REVERSE + cut(text, columns - 1).encode() + _ERASE_REST
        return moved + scroll + self._begin() + insert + line + _RESTORE

    def clear(self) -> bytes:
        """Return what takes the line away; b"" if there is none."""
        self._needs_redraw = self._shown and self._bottom is not None
        if not self._shown:
            return b""
        self._shown = False
        gone = _DELETE_ROW if self._bottom is None else _ERASE_REST
        return self._begin() + gone + _RESTORE

    def _begin(self) -> bytes:
        """Save the cursor and go to the beginning of the line's row."""
        if self._bottom is None:
            return _ROW_BELOW + _SAVE + _PLAIN + b"\x1b[B\r"
        return _SAVE + _PLAIN + b"\x1b[?6l\x1b[%d;1H" % self._bottom


def cut(text: str, width: int) -> str:
    """Cut to ``width`` character cells; wide characters take two, controls are dropped.

    A character of ambiguous width counts two: better cut early than wrapped.
    """
    kept, used = [], 0
    for character in text:
        if not character.isprintable():
            continue
        cells = 2 if unicodedata.east_asian_width(character) in "WFA" else 1
        if unicodedata.category(character) in ("Mn", "Me"):
            cells = 0
        if used + cells > width:
            break
        kept.append(character)
        used += cells
    return "".join(kept)
