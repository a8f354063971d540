"""What the user types to the client and not to the shell: ~. and its kin, as in ssh."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class EscapeCommand(Enum):
    """A command typed as Enter, escape character, key."""

    DISCONNECT = b"."
    HELP = b"?"
    SUSPEND = b"\x1a"


HELP_TEXT: Final = (
    "Supported escape sequences:\r\n"
    " ~.   - disconnect (the session ends on the server too)\r\n"
    " ~^Z  - suspend trioet\r\n"
    " ~?   - this message\r\n"
    " ~~   - send the escape character by typing it twice\r\n"
    "(Escapes are recognized only right after Enter.)\r\n"
)


class EscapeFilter:
    """Tell commands from keys. How the typing is sliced makes no difference."""

    def __init__(self, escape: bytes | None = b"~") -> None:
        self._escape = escape
        self._at_start = True
        self._held = False
        if escape is not None:
            mark = re.escape(escape)
            self._after_enter = re.compile(rb"[\r\n]" + mark)

    def feed(self, typed: bytes) -> list[bytes | EscapeCommand]:
        """Return what was typed, as keys to send and commands to follow, in order.

        An escape character after Enter is held until the next key tells what it is.
        """
        if self._escape is None:
            return [typed] if typed else []
        parts: list[bytes | EscapeCommand] = []
        while typed:
            if self._held:
                typed = self._after_escape(typed, parts)
            elif self._at_start and typed.startswith(self._escape):
                self._held, typed = True, typed[1:]
            elif match := self._after_enter.search(typed):
                parts.append(typed[: match.start() + 1])
                self._held, typed = True, typed[match.end() :]
            else:
                parts.append(typed)
                self._at_start = typed[-1:] in (b"\r", b"\n")
                typed = b""
        return _joined(parts)

    def _after_escape(self, typed: bytes, parts: list[bytes | EscapeCommand]) -> bytes:
        assert self._escape is not None
        self._held = self._at_start = False
        key = typed[:1]
        if key == self._escape:
            parts.append(key)
            return typed[1:]
        try:
            parts.append(EscapeCommand(key))
        except ValueError:
            parts.append(self._escape + key)
            self._at_start = key in (b"\r", b"\n")
            return typed[1:]
        self._at_start = True  # as in ssh, another command may follow at once
        return typed[1:]


def _joined(parts: list[bytes | EscapeCommand]) -> list[bytes | EscapeCommand]:
    joined: list[bytes | EscapeCommand] = []
    for part in parts:
        if joined and isinstance(part, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return joined
