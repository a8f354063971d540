"""GoTTY's configuration file: the part of HCL that such files are written in.

``name = value`` and ``name { … }``; values are texts, numbers, true and false, lists and blocks.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from trioet.config_file import read_text
from trioet.errors import UsageError

MAX_DEPTH: Final = 8

_LEXEME: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<mark>[={}\[\],])""",
    re.VERBOSE | re.DOTALL,
)


def read_config(path: str) -> dict[str, Any]:
    """Read a file.

    Raises:
      UsageError: it cannot be read, or not be understood.
    """
    text = read_text(path)
    try:
        return parse_config(text)
    except UsageError as error:
        raise UsageError(f"{path}, {error}") from error


def parse_config(text: str) -> dict[str, Any]:
    """Parse the text of such a file.

    Raises:
      UsageError: it is none; says in which line.
    """
    return _Parser(text).block(depth=0)


class _Parser:
    """One text, and how far it was read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind, self._lexeme = "", ""
        self._advance()

    def _advance(self) -> None:
        kind, lexeme = "space", ""
        while kind == "space":
            if self._at == len(self._text):
                self._kind, self._lexeme = "end", ""
                return
            found = _LEXEME.match(self._text, self._at)
            if found is None:
                raise self._error(f"{self._text[self._at]!r} is not understood")
            kind, lexeme = found.lastgroup or "", found[0]
            self._at = found.end()
        self._kind, self._lexeme = kind, lexeme

    def _error(self, what: str) -> UsageError:
        return UsageError(f"line {self._text.count(chr(10), 0, self._at) + 1}: {what}")

    def _take(self, lexeme: str) -> bool:
        if self._lexeme == lexeme and self._kind == "mark":
            self._advance()
            return True
        return False

    def block(self, depth: int) -> dict[str, Any]:
        """What there is up to the end of the text, or of a block within."""
        found: dict[str, Any] = {}
        while True:
            if self._kind == "end" and not depth:
                return found
            if depth and self._take("}"):
                return found
            if self._kind not in ("name", "text"):
                raise self._error("a name is missing")
            name = self._lexeme if self._kind == "name" else self._unquoted()
            self._advance()
            if not self._take("=") and self._lexeme != "{":
                raise self._error(f"= is missing after {name}")
            found[name] = self._value(depth + 1)
            self._take(",")

    def _value(self, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} blocks in each other")
        if self._take("{"):
            return self.block(depth)
        if self._take("["):
            return self._list(depth)
        kind, lexeme = self._kind, self._lexeme
        if kind == "text":
            value: object = self._unquoted()
        elif kind == "number":
            value = float(lexeme) if "." in lexeme else int(lexeme[:20])
        elif lexeme in ("true", "false"):
            value = lexeme == "true"
        else:
            raise self._error("a value is missing")
        self._advance()
        return value

    def _list(self, depth: int) -> list[object]:
        found: list[object] = []
        while not self._take("]"):
            found.append(self._value(depth + 1))
            if not self._take(",") and self._lexeme != "]":
                raise self._error("a list without its ]")
        return found

    def _unquoted(self) -> str:
        try:
            text = str(json.loads(self._lexeme, strict=False))
            text.encode()  # no half of a surrogate
            if "\0" not in text:
                return text
        except ValueError:
            pass
        raise self._error(f"{self._lexeme} is no text") from None
