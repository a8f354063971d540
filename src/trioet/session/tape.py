"""The last of a session's output, kept for those who look on.

Whoever looks on has a cursor: a place in all that was written since the tape began. Nobody is
waited for. Who is behind what is still kept begins anew, with a cleared screen and a later
place; where that may be, and which modes of the terminal hold there, is known here. Of the
text nothing is understood: to draw a whole screen is the program's to do.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TAPE: Final = 256 * 1024
"""Bytes kept of a session's output, whoever looks on: some thousand lines."""

RECENT: Final = 32 * 1024
"""Bytes from which somebody goes on who fell behind: several screens, and little enough that a
flood does not overtake it at once."""

LONGEST_LINE: Final = 4 * 1024
"""Bytes in which the end of a line is looked for, to begin behind it."""

CLEARED: Final = b"\x1bc"
"""RIS: as a terminal is when it is switched on."""

FOLLOWED: Final = frozenset(
    {
        *(1, 5, 6, 7, 25, 66),  # cursor keys, reverse video, origin, autowrap, cursor, keypad
        *(9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016),  # mouse, focus
        *(47, 1047, 1049, 2004),  # the alternate screen, paste
    }
)
"""Private modes that somebody who begins later has to be told (xterm, ctlseqs)."""

_SWITCH: Final = re.compile(rb"\x1b(?:c|\[\?([0-9;]{1,64})([hl]))")


class Tape:
    """Output by its place: from :attr:`begin` to :attr:`end` it is kept."""

    def __init__(self, most: int = MAX_TAPE) -> None:
        self._most = most
        self._kept = bytearray()
        self._modes: dict[int, bool] = {}
        """What holds at the beginning of what is kept."""
        self.begin = 0

    def __repr__(self) -> str:
        return f"<Tape {self.begin}-{self.end}>"

    @property
    def end(self) -> int:
        """The place of what will be written next."""
        return self.begin + len(self._kept)

    def feed(self, output: bytes) -> None:
        """Something was written. Never more than so much is kept."""
        self._kept += output
        if len(self._kept) > self._most:
            # Half of it at once, for what is left is moved each time.
            self._drop_to(self._safe_place(self.end - self._most // 2))

    def read(self, place: int, most: int) -> bytes:
        """What was written from ``place`` on, which is kept; b"" at the end."""
        start = place - self.begin
        return bytes(self._kept[start : start + most])

    def fresh(self, most: int) -> tuple[bytes, int]:
        """How somebody begins with the last ``most`` bytes, about: what to show first, and
        the place to go on from."""
        place = self._safe_place(max(self.begin, self.end - most))
        modes = dict(self._modes)
        _follow(modes, self._kept[: place - self.begin])
        switches = b"".join(b"\x1b[?%d%c" % (mode, b"lh"[on]) for mode, on in modes.items())
        return CLEARED + switches, place

    def _safe_place(self, place: int) -> int:
        """The first place from there on that is in the midst of nothing, most likely."""
        if place <= self.begin:
            return self.begin
        start = place - self.begin
        newline = self._kept.find(b"\n", start, start + LONGEST_LINE)
        if newline >= 0:
            return self.begin + newline + 1
        escape = self._kept.find(b"\x1b", start, start + LONGEST_LINE)
        return self.begin + escape if escape >= 0 else place

    def _drop_to(self, place: int) -> None:
        size = place - self.begin
        _follow(self._modes, self._kept[:size])
        del self._kept[:size]
        self.begin = place


def _follow(modes: dict[int, bool], output: bytearray) -> None:
    for match in _SWITCH.finditer(output):
        if match[1] is None:
            modes.clear()
            continue
        for number in match[1].split(b";"):
            mode = int(number or b"0")
            if mode in FOLLOWED:
                modes.pop(mode, None)
                modes[mode] = match[2] == b"h"
