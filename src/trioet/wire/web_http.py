"""HTTP/1.1 as a browser asks it of `trioet web`: heads of requests, and of answers (RFC 9112).

No more than is used: bodies have a Content-Length, and whatever two servers might understand
differently (folded lines, two lengths, Transfer-Encoding) is refused instead of understood.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

from trioet.errors import PeerError

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request before its body."""

MAX_BODY: Final = 64 * 1024
MAX_FIELDS: Final = 100
MAX_PARAMETERS: Final = 64
"""In a query."""

_TOKEN: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_TARGET: Final = frozenset(map(chr, range(0x21, 0x7F)))
_DIGITS: Final = frozenset(string.digits)


class BadRequest(PeerError):
    """What came is no request that is understood here; ``status`` is what to answer."""

    def __init__(self, status: HTTPStatus, what: str) -> None:
        super().__init__(status, what)
        self.status = status
        self.what = what

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. Names of fields are in small letters."""

    method: str
    path: str
    """Unquoted, and without a query."""
    query: str
    fields: Mapping[str, str]
    version: str = "HTTP/1.1"
    scheme: str = ""
    """What the browser speaks, ``http`` or ``https``; empty if nobody knows. The head does not say:
    it is for who has received it to add."""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return int(self.fields.get("content-length", "0"))

    @property
    def keeps_alive(self) -> bool:
        """Another request may follow on the same connection."""
        return self.version == "HTTP/1.1" and not self.has_option("connection", "close")

    @property
    def wants_websocket(self) -> bool:
        return self.has_option("upgrade", "websocket") and self.has_option("connection", "upgrade")

    def has_option(self, name: str, option: str) -> bool:
        """True if a field that lists words has this one."""
        return option in (word.strip().lower() for word in self.fields.get(name, "").split(","))

    def parameters(self) -> list[tuple[str, str]]:
        """What the query says, in order.

        Raises:
          BadRequest: too many of them.
        """
        return parameters(self.query)

    def cookie(self, name: str) -> str:
        """The cookie of that name; empty if there is none."""
        for part in self.fields.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""


def parameters(query: str) -> list[tuple[str, str]]:
    """What a query says, in order.

    Raises:
      BadRequest: too many of them.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise _bad(f"a query with more than {MAX_PARAMETERS} parameters") from error


def parse_head(head: bytes) -> Request:
    """Parse all of a request before its body, without the empty line at the end.

    Raises:
      BadRequest: it is none, or one that is not understood here.
    """
    try:
        lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError as error:
        raise _bad("a request that is not ASCII") from error
    method, path, query, version = _parse_request_line(lines[0])
    if len(lines) > MAX_FIELDS:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, value = _parse_field(line)
        if name in fields and name in _ONCE:
            raise _bad(f"{name} twice")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    _check_body(fields)
    if "host" not in fields:
        raise _bad("a request without a Host")
    return Request(method, path, query, fields, version)


_ONCE: Final = frozenset({"host", "origin", "content-length", "cookie", "authorization"})
"""Fields of which two would be two opinions. (A browser sends one Cookie in HTTP/1.1.)"""


def _parse_request_line(line: str) -> tuple[str, str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if not (method and _TOKEN.issuperset(method) and _TARGET.issuperset(target)):
        raise _bad("the first line is no request")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    if not target.startswith("/"):
        raise _bad("a request for no path")
    quoted, _, query = target.partition("?")
    path = unquote(quoted)
    if any(ord(char) < 0x20 or char == "\x7f" for char in path):
        raise _bad("a control character in a path")
    return method, path, query, version


def _parse_field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not (name and colon and _TOKEN.issuperset(name)):
        raise _bad("a line that is no header field")
    if any((ord(char) < 0x20 and char != "\t") or char == "\x7f" for char in value):
        raise _bad("a control character in a header field")
    return name.lower(), value


def _check_body(fields: Mapping[str, str]) -> None:
    if "transfer-encoding" in fields:
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "no Transfer-Encoding is understood here")
    length = fields.get("content-length", "0")
    if not (length and _DIGITS.issuperset(length)):
        raise _bad("a Content-Length that is no number")
    if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
        what = f"a body of more than {MAX_BODY} bytes"
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)


def answer_head(status: HTTPStatus, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer, with the empty line at its end.

    Raises:
      ValueError: a field would end early: nothing foreign may become another field.
    """
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    for name, value in fields:
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line:
            raise ValueError(f"a header field {name} with an end of line in it")
        lines.append(line)
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _bad(what: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, what)
