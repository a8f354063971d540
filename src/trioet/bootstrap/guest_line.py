"""Whom a host is to open a session for, and what that guest may do: the line on the stdin of
`trioet terminal --guest`.

A JSON object in one line: ``id``, ``passkey``, ``term``, the words of the command (``argv``; none
is the login shell), and what is granted (trioet.session.guest.Grant), which the keeper there
judges. No session's line begins like it, so an older trioet refuses it, and opens no session with
all its user's rights. Imports next to nothing, as all that ssh runs on the far side.
"""

from __future__ import annotations

from trioet.bootstrap.credentials import Credentials
from trioet.errors import PeerError, StepFailed

MAX_GUEST_LINE = 48 * 1024
"""Bytes of it: a pipe holds 64 KiB (pipe(7)), so that whoever starts ssh never waits."""

TEXTS = ("id", "passkey", "term", "write")
NUMBERS = ("rows", "columns", "start", "linger", "close_signal", "close_timeout")
"""What is said of a guest, beside its command; as in trioet.server.guest_request."""


class GuestLine:
    """A guest, and what it may do. The passkey never shows in a repr."""

    __slots__ = ("argv", "fields")

    def __init__(self, argv: list[str], fields: dict[str, str]) -> None:
        self.argv = argv
        self.fields = fields

    def __repr__(self) -> str:
        return f"GuestLine(argv={self.argv!r}, id={self.fields['id']!r})"


def guest_line(
    credentials: Credentials, term: str, argv: list[str], granted: dict[str, int], *, write: bool
) -> bytes:
    """The line for the far side's stdin; ``granted`` are all the NUMBERS.

    Raises:
      StepFailed: it would be too long.
    """
    import json

    said: dict[str, object] = {"id": credentials.client_id, "passkey": credentials.passkey}
    said |= {"term": term, "write": "yes" if write else "", "argv": argv, **granted}
    line = json.dumps(said).encode() + b"\n"
    if len(line) > MAX_GUEST_LINE:
        raise StepFailed("command", f"a command of more than {MAX_GUEST_LINE} bytes")
    return line


def parse_guest_line(line: bytes) -> GuestLine:
    """Take the line apart, on the far side. What it grants is the keeper's to judge.

    Raises:
      PeerError: it is not such a line.
    """
    import json

    try:
        said = json.loads(line.partition(b"\n")[0])
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise PeerError(
            "stdin must begin with a line of JSON, as `trioet web --connect` sends it; "
            f"{len(line)} bytes of something else came"
        )
    argv = said.get("argv")
    if not (isinstance(argv, list) and all(map(_is_word, argv))):
        raise PeerError("a guest's command has to be a list of words")
    fields = {}
    for name in TEXTS:
        text = said.get(name, "")
        if not _is_word(text):
            raise PeerError(f"a guest's {name} has to be a text")
        fields[name] = text
    for name in NUMBERS:
        number = said.get(name)
        if type(number) is not int or number < 0:  # bool is an int to isinstance
            raise PeerError(f"a guest's {name} has to be a number")
        fields[name] = str(number)
    return GuestLine(argv, fields)


def _is_word(text: object) -> bool:
    """True for what can be a word of a command, and a field of a request to a keeper."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
