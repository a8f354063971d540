"""What the far side has switched on in the user's terminal, and how to switch it off.

A session can end at any byte: vim on the alternate screen, the mouse reporting, the cursor
hidden. What was switched on is switched off at the end, and nothing else: an unmatched
``?1049l`` would move the cursor. This is no screen model: it knows switches, never text.

Sources: ECMA-48 for the control functions, xterm's ``ctlseqs`` for the private modes and
what a soft reset touches, the kitty keyboard protocol for ``CSI … u``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

ALTERNATE_SCREENS: Final = frozenset({47, 1047, 1049})

NORMALLY_OFF: Final = frozenset(
    {
        *(1, 5),  # application cursor keys, reverse video
        *(9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016),  # mouse, focus
        *(45, 66, 69),  # reverse wrap, application keypad, left and right margins
        *(2004, 2026, 2031, 2048),  # paste, synchronized output, theme and size reports
        9001,  # key records of Windows
    }
)
NORMALLY_ON: Final = frozenset({7, 8, 25})
"""Autowrap, key repeat, the visible cursor. What no terminal agrees on is left alone."""

_SOFT_RESET: Final = frozenset({1, 7, 25, 66})
_ANSI_OFF: Final = frozenset({4, 20})  # insert, new line
_KEY_RESOURCES: Final = range(8)  # 4: modifyOtherKeys

MAX_HELD: Final = 256
"""Bytes of a cut-off sequence that are held back; longer than any that is followed."""

_SWITCH: Final = re.compile(
    rb"\x1b([=>78c]|\[!p|\[[0-9;]{0,96}+(?:[hlrsu]| q)|\[[?<=>][0-9;]{0,96}+[hlump])"
)
"""Sequences that may switch something. Colours and moves, the bulk of them, fail early."""

_TOUCHES_RENDITION: Final = b"78csup"
"""How those end that save, restore or reset it; and the modes 1048 and 1049."""

_PLAIN_TEXT: Final = re.compile(rb"[\x08-\x0d\x20-\x7f]{0,64}")
"""A key's echo, most often: nothing in it to follow."""

_LAST_SGR: Final = re.compile(rb"(?s:.*)\x1b\[([0-9;:]{0,240})m")

RECENT: Final = 1024
"""Bytes of output in which a move of the cursor upwards is looked for."""

_LAST_UPWARDS: Final = re.compile(rb"(?s:.*)\x1b(?:\[([0-9]*)A|\[[0-9;]*[FHdfu]|[M8])")
_ERASE_BELOW: Final = re.compile(rb"\x1b(?:\[[023]?J|c)")

_STRING: Final = re.compile(rb"\x1b[\]PX^_][^\x07\x18\x1a\x1b]*")
_STRING_END: Final = re.compile(rb"[\x07\x18\x1a]")
_CUT_OFF: Final = re.compile(rb"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x18\x1a\x1b]*\x1b?)")


class _Rendition(NamedTuple):
    """How the next character would look: what saving the cursor saves beside its place."""

    coloured: bool = False
    g0: bytes = b"B"
    g1: bytes = b"B"
    shifted: bool = False

    def undo(self) -> bytes:
        return (
            (b"\x0f" if self.shifted else b"")
            + (b"\x1b(B" if self.g0 != b"B" else b"")
            + (b"\x1b)B" if self.g1 != b"B" else b"")
            + (b"\x1b[m" if self.coloured else b"")
        )


_PLAIN: Final = _Rendition()


@dataclass(slots=True)
class _KeyboardStack:
    """Kitty keyboard flags; each screen has a stack of its own."""

    depth: int = 0
    base: bool = False
    """Flags were set while nothing was pushed."""

    def follow(self, body: bytes) -> None:
        """``> flags u`` pushes, ``< count u`` pops, ``= flags ; how u`` sets."""
        first, *rest = _numbers(body[1:-1])
        match body[:1]:
            case b">":
                self.depth += 1
            case b"<":
                # Taking more than there is clears the flags beneath too.
                self.base = self.base and max(1, first) <= self.depth
                self.depth = max(0, self.depth - max(1, first))
            case _ if self.depth == 0:
                replaces = not rest or rest[0] in (0, 1)
                self.base = bool(first) if replaces else self.base or rest[0] == 2

    def undo(self) -> Iterator[bytes]:
        if self.depth:
            yield b"\x1b[<%du" % self.depth
        if self.base:
            yield b"\x1b[=0;1u"


class TerminalModes:
    """Follow the output of a session; say how to undo what it has left on.

    How the output was sliced makes no difference. A feed costs a few scans for single
    bytes; only the sequences that switch something cost more.
    """

    def __init__(self, *, utf8: bool = True) -> None:
        """``utf8``: the terminal decodes UTF-8, so half a character is no character."""
        self._utf8 = utf8
        self._held = self._recent = b""
        self._in_string = False
        self._clear()

    @property
    def alternate_screen(self) -> bool:
        """True while the far side shows the alternate screen."""
        return self._alternate != 0

    @property
    def interruptible(self) -> bool:
        """False inside a long control string (an image, a clipboard): whatever else were
        written now would end it half-way."""
        return not self._in_string

    @property
    def text_below(self) -> bool:
        """True when there may be text below the cursor: it went up not long ago, and came
        down no further, and nothing erased the rest of the screen. Only a hint."""
        if not (upwards := _LAST_UPWARDS.match(self._recent)):
            return False
        since = self._recent[upwards.end() :]
        if _ERASE_BELOW.search(since):
            return False
        # An absolute move may have come from anywhere.
        rows = RECENT if upwards[1] is None else int(upwards[1][:4] or b"1")
        return since.count(b"\n") < rows

    def feed(self, output: bytes) -> bytes:
        """Take output on its way to the terminal; return what of it to write now.

        That is all of it, but for a character or control sequence that is cut off at the
        end: it comes out of the next feed, whole, so that nothing of our own can get in
        between and tear it. The terminal would have shown nothing of it yet. At most 256
        bytes are held back.
        """
        if not self._held and not self._in_string and _PLAIN_TEXT.fullmatch(output):
            self._recent = (self._recent + output)[-RECENT:]
            return output
        data = self._held + output if self._held else output
        end = self._whole(data)
        self._held = data[end:]
        whole = data if end == len(data) else data[:end]
        self._recent = (self._recent + whole[-RECENT:])[-RECENT:]
        last = whole.rfind(b"\x1b")
        if last >= 0:
            self._in_string = _STRING.fullmatch(whole, last) is not None
        elif self._in_string and _STRING_END.search(whole):
            self._in_string = False
        start = 0
        for match in _SWITCH.finditer(whole) if last >= 0 else ():
            if match[1][-1:] in _TOUCHES_RENDITION or b"104" in match[1]:
                self._render(whole, start, match.start())
                start = match.end()
            self._switch(match[1])
        self._render(whole, start, len(whole))
        return whole

    def take_held(self) -> bytes:
        """Return what :meth:`feed` holds back, and forget it: no more output comes."""
        held, self._held = self._held, b""
        return held

    def reset_sequence(self) -> bytes:
        """Return what undoes all that is still on, b"" if nothing is; and take it as done,
        so that a second call returns b""."""
        undo = b"".join(self._undo())
        self._held = self._recent = b""
        self._in_string = False
        self._clear()
        return undo

    def _clear(self) -> None:
        self._modes: set[int] = set()
        self._ansi: set[int] = set()
        self._modified_keys: set[int] = set()
        self._alternate = 0
        self._keyboards = {False: _KeyboardStack(), True: _KeyboardStack()}
        self._keypad = self._region = self._cursor_style = False
        self._rendition = _PLAIN
        self._saved = {False: _PLAIN, True: _PLAIN}

    def _whole(self, data: bytes) -> int:
        """Where in ``data`` the cut-off end begins; its length when there is none."""
        size = len(data)
        start = data.rfind(b"\x1b")
        if start >= 0:
            if start == size - 1:
                # Perhaps the first half of what ends a string.
                before = data.rfind(b"\x1b", 0, start)
                if before >= 0 and _STRING.fullmatch(data, before, start):
                    start = before
            if size - start <= MAX_HELD and _CUT_OFF.fullmatch(data, start):
                return start
            if data.endswith(b"\x1b"):
                return size - 1
        if self._utf8 and data and data[-1] >= 0x80:
            return size - _cut_off_character(data[-3:])
        return size

    def _render(self, data: bytes, start: int, end: int) -> None:
        """Follow colours and character sets from ``start`` to ``end``: the last ones count."""
        coloured, g0, g1, shifted = self._rendition
        out, back = data.rfind(b"\x0e", start, end), data.rfind(b"\x0f", start, end)
        if out != back:
            shifted = out > back
        if data.find(b"\x1b", start, end) >= 0:
            if sgr := _LAST_SGR.match(data, start, end):
                coloured = sgr[1].strip(b"0;") != b""
            if (at := data.rfind(b"\x1b(", start, end)) >= 0:
                g0 = data[at + 2 : at + 3]
            if (at := data.rfind(b"\x1b)", start, end)) >= 0:
                g1 = data[at + 2 : at + 3]
        self._rendition = _Rendition(coloured, g0, g1, shifted)

    def _switch(self, body: bytes) -> None:
        match body[0:1], body[1:2], body[-1:]:
            case b"[", b"?", b"h" | b"l" as final:
                for mode in _numbers(body[2:-1]):
                    self._private_mode(mode, final == b"h")
            case b"[", b"<" | b"=" | b">", b"u":
                self._keyboards[self.alternate_screen].follow(body[1:])
            case b"[", b">", b"m":
                resource, *value = _numbers(body[2:-1])
                _keep(self._modified_keys, resource, resource in _KEY_RESOURCES and any(value))
            case b"[", b"!", b"p":
                self._soft_reset()
            case b"[", b"?" | b"<" | b"=" | b">" | b"!", _:
                pass
            case b"[", _, b"h" | b"l" as final:
                for mode in _ANSI_OFF.intersection(_numbers(body[1:-1])):
                    _keep(self._ansi, mode, final == b"h")
            case b"[", _, b"r":
                self._region = any(_numbers(body[1:-1]))
            case b"[", _, b"q":
                self._cursor_style = any(_numbers(body[1:-2]))
            case _:
                self._plain_switch(body)

    def _plain_switch(self, body: bytes) -> None:
        match body:
            case b"=" | b">":
                self._keypad = body == b"="
            case b"7" | b"[s":
                self._saved_cursor(save=True)
            case b"8" | b"[u":
                self._saved_cursor(save=False)
            case b"c":
                self._clear()

    def _private_mode(self, mode: int, on: bool) -> None:
        if mode in ALTERNATE_SCREENS:
            if mode == 1049 and on != self.alternate_screen:
                self._alternate = 0
                self._saved_cursor(save=on)
            self._alternate = mode if on else 0
        elif mode == 1048:
            self._saved_cursor(save=on)
        elif mode in NORMALLY_OFF:
            _keep(self._modes, mode, on)
        elif mode in NORMALLY_ON:
            _keep(self._modes, mode, not on)

    def _saved_cursor(self, *, save: bool) -> None:
        screen = self.alternate_screen
        if save:
            self._saved[screen] = self._rendition
        else:
            self._rendition = self._saved[screen]

    def _soft_reset(self) -> None:
        """DECSTR: neither the mouse nor the alternate screen (xterm, ctlseqs)."""
        self._modes -= _SOFT_RESET
        self._ansi.discard(4)
        self._keypad = self._region = False
        self._rendition = self._saved[self.alternate_screen] = _PLAIN

    def _undo(self) -> Iterator[bytes]:
        if self._in_string:
            yield b"\x1b\\"
        for mode in sorted(self._modes):
            yield b"\x1b[?%d%c" % (mode, b"lh"[mode in NORMALLY_ON])
        for mode in sorted(self._ansi):
            yield b"\x1b[%dl" % mode
        for resource in sorted(self._modified_keys):
            yield b"\x1b[>%dm" % resource
        if self._keypad:
            yield b"\x1b>"
        if self._cursor_style:
            yield b"\x1b[0 q"
        if self._region:
            # Setting the region moves the cursor home, which matters on the main screen.
            yield b"\x1b[r" if self._alternate else b"\x1b7\x1b[r\x1b8"
        rendition = self._rendition
        if self._alternate:
            yield from self._keyboards[True].undo()
            yield b"\x1b[?%dl" % self._alternate
            if self._alternate == 1049:
                rendition = self._saved[False]
        yield from self._keyboards[False].undo()
        yield rendition.undo()


def _keep(switched: set[int], number: int, on: bool) -> None:
    if on:
        switched.add(number)
    else:
        switched.discard(number)


def _numbers(parameters: bytes) -> list[int]:
    """The parameters of a control sequence; 0 for one left out."""
    return [int(part or b"0") for part in parameters.split(b";")]


def _cut_off_character(end: bytes) -> int:
    """How many bytes at the end of ``end`` begin a UTF-8 character and do not finish it."""
    for back, byte in enumerate(reversed(end), 1):
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length and byte < 0xF8 else 0
        if byte < 0x80:
            break
    return 0
