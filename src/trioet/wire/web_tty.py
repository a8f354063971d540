"""The messages of other web terminals: GoTTY's subprotocol ``webtty``, and ttyd's ``tty``.

As recorded of gotty (main, 2026) and ttyd 1.7.7, whose clients know no others. Both have one
letter for the kind and the rest for what it says.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from trioet.errors import PeerError
from trioet.wire.messages import MAX_SIZE, WindowSize
from trioet.wire.web_http import BadRequest, parameters

INPUT_BUFFER: Final = 65536
"""Bytes of a message of input, as GoTTY's page is told: longer input it splits."""

MAX_HELLO: Final = 16 * 1024


class BadMessage(PeerError):
    """A message that no client of these sends."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message: who somebody is, and what he wants."""

    auth_token: str = ""
    arguments: tuple[str, ...] = ()
    size: WindowSize | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    size: WindowSize


class Asked(Enum):
    """Messages that are only a kind."""

    PING = auto()
    PAUSE = auto()
    RESUME = auto()
    NOTHING = auto()


Said = Typed | Resized | Asked


class Webtty:
    """GoTTY's, at the server's end. Knows how its client encodes input."""

    def __init__(self) -> None:
        self._is_base64 = False

    def hello(self, message: str | bytes) -> Hello:
        """Read the first message.

        Raises:
          BadMessage: it is none.
        """
        fields = _object(message)
        query = fields.get("arguments", "")
        token = fields.get("authtoken", "")
        if not isinstance(query, str) or not isinstance(token, str):
            raise BadMessage("a first message that is none")
        return Hello(token, arguments(query.removeprefix("?")))

    def read(self, message: str | bytes) -> Said:
        """Read a message.

        Raises:
          BadMessage: it is none.
        """
        if isinstance(message, bytes):
            return Asked.NOTHING  # as GoTTY, which heeds text only
        match message[:1], message[1:]:
            case "1", text:
                return Typed(self._decoded(text))
            case "2", _:
                return Asked.PING
            case "3", text:
                return Resized(_size(_object(text)))
            case "4", name:
                if name in ("base64", "null"):
                    self._is_base64 = name == "base64"
                return Asked.NOTHING
        raise BadMessage("a message of no known kind")

    def _decoded(self, text: str) -> bytes:
        if not self._is_base64:
            return text.encode(errors="surrogatepass")
        try:
            return base64.b64decode(text)
        except (binascii.Error, ValueError):
            raise BadMessage("input that is no base64") from None

    @staticmethod
    def output(data: bytes) -> str:
        return "1" + base64.b64encode(data).decode()

    @staticmethod
    def pong() -> str:
        return "2"

    @staticmethod
    def begin(title: str, preferences: Mapping[str, object], reconnect_s: int | None) -> list[str]:
        """What is said before any output."""
        said = ["3" + title, f"6{INPUT_BUFFER}"]
        if reconnect_s is not None:
            said.append(f"5{reconnect_s}")
        if preferences:
            said.append("4" + json.dumps(preferences))
        return said


class Tty:
    """ttyd's, at the server's end."""

    def hello(self, message: str | bytes) -> Hello:
        """Read the first message.

        Raises:
          BadMessage: it is none.
        """
        fields = _object(message)
        token = fields.get("authtoken", "")
        if not isinstance(token, str):
            raise BadMessage("a first message that is none")
        wants_size = "columns" in fields or "rows" in fields
        return Hello(token, size=_size(fields) if wants_size else None)

    def read(self, message: str | bytes) -> Said:
        """Read a message; ttyd passes over those of kinds it does not know.

        Raises:
          BadMessage: it is none.
        """
        data = message.encode(errors="surrogatepass") if isinstance(message, str) else message
        match data[:1]:
            case b"0":
                return Typed(data[1:])
            case b"1":
                return Resized(_size(_object(data[1:])))
            case b"2":
                return Asked.PAUSE
            case b"3":
                return Asked.RESUME
        return Asked.NOTHING

    @staticmethod
    def output(data: bytes) -> bytes:
        return b"0" + data

    @staticmethod
    def begin(title: str, preferences: Mapping[str, object]) -> list[bytes]:
        """What is said before any output."""
        return [b"1" + title.encode(), b"2" + json.dumps(preferences).encode()]


def arguments(query: str) -> tuple[str, ...]:
    """The ``arg`` of a query, in order.

    Raises:
      BadMessage: too many of them.
    """
    try:
        return tuple(value for name, value in parameters(query) if name == "arg")
    except BadRequest as error:
        raise BadMessage(str(error)) from error


def _object(message: str | bytes) -> dict[str, Any]:
    """A JSON object, the names of its fields in small letters: Go's parser does not care."""
    if len(message) > MAX_HELLO:
        raise BadMessage("a message that is too long")
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise BadMessage("a message that is no JSON") from None
    if not isinstance(value, dict):
        raise BadMessage("a message that is no JSON object")
    return {name.lower(): value[name] for name in value}


def _size(fields: Mapping[str, Any]) -> WindowSize:
    rows, columns = fields.get("rows"), fields.get("columns")
    for number in (rows, columns):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadMessage("a size that is none")
        if not 1 <= number <= MAX_SIZE:
            raise BadMessage("a size that no terminal has")
    assert rows is not None
    assert columns is not None
    return WindowSize(int(rows), int(columns))
