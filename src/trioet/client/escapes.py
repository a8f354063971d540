"""What the user types to the client and not to the shell: ~. and its kin, as in ssh(1)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class EscapeCommand(Enum):
    """A command typed as Enter, escape character, key."""

    DISCONNECT = b"."
    HELP = b"?"
    SUSPEND = b"\x1a"
    LIST = b"#"
    COMMAND_LINE = b"C"
    LOG_IN = b"L"


_COMMANDS: Final = {command.value: command for command in EscapeCommand}


def help_text(escape: bytes) -> str:
    """What ``~?`` shows; lines end as a raw terminal needs it."""
    key = f"^{chr(escape[0] ^ 64)}" if escape < b" " else escape.decode("latin-1")
    lines = (
        "Escapes, typed right after Enter:",
        f"  {key}.   disconnect",
        f"  {key}^Z  suspend trioet",
        f"  {key}#   list tunnels",
        f"  {key}C   command line: open or close tunnels",
        f"  {key}L   log in again by ssh, which may ask you",
        f"  {key}?   show this",
        f"  {key}{key}   type {key} itself",
    )
    return "".join(f"{line}\r\n" for line in lines)


class EscapeFilter:
    """Tell commands from keys. How the typing is sliced makes no difference.

    A paste costs one search, whatever its length.
    """

    def __init__(self, escape: bytes | None = b"~") -> None:
        """``escape`` is one byte; None turns commands off."""
        self._escape = escape
        self._after_enter = True
        self._held = False
        self._enter_escape = re.compile(rb"[\r\n]" + re.escape(escape or b""))

    def feed(self, typed: bytes) -> list[bytes | EscapeCommand]:
        """Return what was typed, as keys to send and commands to follow, in order.

        An escape character after Enter is held until the next key tells what it is.
        """
        if self._escape is None:
            return [typed] if typed else []
        parts: list[bytes | EscapeCommand] = []
        keys: list[bytes] = []
        at = 0
        while at < len(typed):
            if self._held:
                command = self._take_key(typed[at : at + 1], keys)
                at += 1
                if command is not None:
                    _flush(keys, parts)
                    parts.append(command)
            elif self._after_enter and typed.startswith(self._escape, at):
                self._held = True
                at += 1
            else:
                match = self._enter_escape.search(typed, at)
                end = match.start() + 1 if match else len(typed)
                keys.append(typed[at:end])
                self._after_enter = typed[end - 1] in b"\r\n"
                at = end
        _flush(keys, parts)
        return parts

    def _take_key(self, key: bytes, keys: list[bytes]) -> EscapeCommand | None:
        """Deal with the key after the escape character; return what it commands."""
        assert self._escape is not None
        self._held = False
        command = _COMMANDS.get(key)
        if command is None or key == self._escape:
            keys.append(key if key == self._escape else self._escape + key)
            self._after_enter = key in (b"\r", b"\n")
            return None
        self._after_enter = True  # as in ssh, another command may follow at once
        return command


def _flush(keys: list[bytes], parts: list[bytes | EscapeCommand]) -> None:
    if keys:
        parts.append(b"".join(keys))
        keys.clear()
