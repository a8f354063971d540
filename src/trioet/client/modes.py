"""Which terminal modes the far side has switched on and may leave behind.

A session can end at any byte: vim on the alternate screen, the mouse reporting, the cursor
hidden. What was switched on is switched off at the end, and nothing else: an unmatched
``?1049l`` would move the cursor.
"""

from __future__ import annotations

import re
from typing import Final

ALTERNATE_SCREENS: Final = frozenset({47, 1047, 1049})

NORMALLY_ON: Final = frozenset({7, 25})
"""Autowrap and the visible cursor; all other private modes are normally off."""

LONGEST: Final = 64
"""Bytes of an unfinished sequence that are kept until the rest comes."""

_SEQUENCE: Final = re.compile(
    rb"\x1b(?:"
    rb"\[\?(?P<modes>[0-9;]+)(?P<set>[hl])"
    rb"|\[>(?P<push>[0-9]*)u"
    rb"|\[<(?P<pop>[0-9]*)u"
    rb"|\[=(?P<flags>[0-9]*)(?:;[0-9]*)?u"
    rb"|\[>4(?:;(?P<other>[0-9]*))?m"
    rb"|\[(?P<region>[0-9]*;?[0-9]*)r"
    rb"|\[(?P<cursor>[0-9]*) q"
    rb"|(?P<keypad>[=>])"
    rb"|\((?P<charset>[0AB])"
    rb"|(?P<reset>c)"
    rb"|\[(?P<soft>!)p"
    rb")"
)


class TerminalModes:
    """Follow the output of a session; say how to undo what it has switched on."""

    def __init__(self) -> None:
        self._tail = b""
        self._forget()

    def _forget(self) -> None:
        self._changed: dict[int, None] = {}  # private modes, in order, not at their default
        self._kitty = 0
        self._undo: dict[str, bytes] = {}

    @property
    def alternate_screen(self) -> bool:
        """True while the far side shows the alternate screen."""
        return not ALTERNATE_SCREENS.isdisjoint(self._changed)

    def feed(self, output: bytes) -> None:
        """Take note of output. How it is sliced makes no difference."""
        if b"\x1b" not in output and not self._tail:
            return
        data = self._tail + output
        end = 0
        for match in _SEQUENCE.finditer(data):
            self._note(match)
            end = match.end()
        # An escape near the end may be the beginning of a sequence.
        start = data.rfind(b"\x1b", max(end, len(data) - LONGEST))
        self._tail = data[start:] if start >= 0 else b""

    def reset_sequence(self) -> bytes:
        """Return what undoes all that is still switched on, b"" if nothing is."""
        parts = list(self._undo.values())
        if self._kitty:
            parts.append(b"\x1b[<%du" % self._kitty)
        screen = [mode for mode in self._changed if mode in ALTERNATE_SCREENS]
        others = [mode for mode in self._changed if mode not in ALTERNATE_SCREENS]
        parts += [b"\x1b[?%d%c" % (mode, b"lh"[mode in NORMALLY_ON]) for mode in others + screen]
        return b"".join(parts)

    def _note(self, match: re.Match[bytes]) -> None:
        kind, value = match.lastgroup, match[match.lastgroup or 0]
        match kind:
            case "set":
                for mode in match["modes"].split(b";"):
                    if mode:
                        self._set_mode(int(mode), value == b"h")
            case "push":
                self._kitty += 1
            case "pop":
                self._kitty = max(0, self._kitty - int(value or 1))
            case "reset" | "soft":
                self._forget()
            case str():
                self._note_simple(kind, value)

    def _note_simple(self, kind: str, value: bytes) -> None:
        undo = {
            "flags": (b"", b"0"), "other": (b"", b"0"), "region": (b"", b";"),
            "cursor": (b"", b"0"), "keypad": (b">",), "charset": (b"B",),
        }  # fmt: skip
        reset = {
            "flags": b"\x1b[=0u",
            "other": b"\x1b[>4;0m",
            # Setting the region moves the cursor home: come back to where it was.
            "region": b"\x1b7\x1b[r\x1b8",
            "cursor": b"\x1b[0 q",
            "keypad": b"\x1b>",
            "charset": b"\x1b(B",
        }
        if value in undo[kind]:
            self._undo.pop(kind, None)
        else:
            self._undo[kind] = reset[kind]

    def _set_mode(self, mode: int, on: bool) -> None:
        if on == (mode in NORMALLY_ON):
            self._changed.pop(mode, None)
        else:
            self._changed[mode] = None
