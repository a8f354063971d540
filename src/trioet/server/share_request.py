"""What is asked of the user's keeper about looking on at a session (`trioet share`).

The form is that of any request to a keeper (request.py). What is asked by ``do``:

* ``share``: a share of a session; the answer has its ``number``, and ``ticket`` and ``key``
  of its link. With ``hide`` nobody sees what the session writes until ``shown``;
* ``shown``: the link is off the screen;
* ``take``: whoever brings a ticket gets, once, what is in the link's box: the answer has it
  ``sealed`` with the link's key, which did not come here;
* ``shares``: a list of those of a session;
* ``revoke``: end one of them, or all.

An older keeper refuses all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from trioet.bootstrap.credentials import is_client_id
from trioet.errors import MessageError
from trioet.server.request import VERSION

MAX_EXPIRES_S: Final = 30 * 24 * 3600
"""The longest that somebody may look on."""

MAX_NAME: Final = 64
MAX_SOURCE: Final = 64

WORDS: Final = (b"share", b"shown", b"take", b"shares", b"revoke")


def is_share_request(data: bytes) -> bool:
    """True if a request is one of these."""
    return data.startswith(tuple(b"v=%d\0do=%b\0" % (VERSION, word) for word in WORDS))


@dataclass(frozen=True, slots=True)
class ShareRequest:
    """Let somebody look on at the session of that name."""

    session: str
    write: bool = False
    expires_s: int = 3600
    hide: bool = False

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        return _encode(
            do="share",
            session=self.session,
            write="yes" if self.write else "",
            expires=str(self.expires_s),
            hide="yes" if self.hide else "",
        )


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """The link of that share is off the screen."""

    session: str
    number: int

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        return _encode(do="shown", session=self.session, number=str(self.number))


@dataclass(frozen=True, slots=True)
class TakeRequest:
    """Somebody at ``source`` has opened a link."""

    ticket: str
    source: str = ""

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        return _encode(do="take", ticket=self.ticket, source=self.source)


@dataclass(frozen=True, slots=True)
class SharesRequest:
    """Who looks on?"""

    session: str

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        return _encode(do="shares", session=self.session)


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """Nobody may look on by that share any more, or by any."""

    session: str
    number: int | None = None

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        number = "all" if self.number is None else str(self.number)
        return _encode(do="revoke", session=self.session, number=number)


AnyShareRequest: TypeAlias = (
    ShareRequest | ShownRequest | TakeRequest | SharesRequest | RevokeRequest
)


def parse_share_request(data: bytes) -> AnyShareRequest:
    """Parse a request of these.

    Raises:
      MessageError: it makes no sense.
    """
    fields: dict[bytes, bytes] = {}
    for record in data.split(b"\0")[:-1]:
        name, equals, value = record.partition(b"=")
        if not equals:
            raise MessageError("a request with a record that is no name=value")
        fields[name] = value
    match fields.get(b"do"):
        case b"take":
            ticket = fields.get(b"ticket", b"")
            if not is_client_id(ticket):
                raise MessageError("a ticket has 16 letters and digits")
            return TakeRequest(ticket.decode(), _text(fields, b"source", MAX_SOURCE))
        case b"share":
            return ShareRequest(
                _session(fields),
                fields.get(b"write") == b"yes",
                _number(fields, b"expires", MAX_EXPIRES_S),
                fields.get(b"hide") == b"yes",
            )
        case b"shown":
            return ShownRequest(_session(fields), _number(fields, b"number", 10**9))
        case b"shares":
            return SharesRequest(_session(fields))
        case b"revoke":
            session = _session(fields)
            if fields.get(b"number") == b"all":
                return RevokeRequest(session)
            return RevokeRequest(session, _number(fields, b"number", 10**9))
    raise MessageError("a request that this keeper does not know")


def _encode(**fields: str) -> bytes:
    records = [f"v={VERSION}", *(f"{name}={value}" for name, value in fields.items()), ""]
    return "\0".join(records).encode(errors="replace")


def _session(fields: Mapping[bytes, bytes]) -> str:
    name = _text(fields, b"session", MAX_NAME)
    if not name:
        raise MessageError("a session has a name")
    return name


def _text(fields: Mapping[bytes, bytes], name: bytes, most: int) -> str:
    text = fields.get(name, b"")
    if len(text) > most or not all(0x20 < byte < 0x7F for byte in text):
        raise MessageError(f"{name.decode()} is none")
    return text.decode()


def _number(fields: Mapping[bytes, bytes], name: bytes, most: int) -> int:
    text = fields.get(name, b"")
    if not (text.isdigit() and len(text) <= 10 and 0 < int(text) <= most):
        raise MessageError(f"{name.decode()} is no number from 1 to {most}")
    return int(text)
