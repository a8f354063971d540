"""What asks the user's keeper for a session whose client is a guest, as the web brings them.

The form is that of any request to a keeper (request.py), with ``do=guest``, ``arg`` once for each
word of the program, and all else that is granted (trioet.session.guest). The answer names a
Unix socket, to which the connections of guests come. The keeper leaves the connection on which
it was asked open until the session is over.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from trioet.bootstrap.credentials import Credentials, is_client_id, is_passkey
from trioet.errors import MessageError
from trioet.server.request import GUEST, encode_guest
from trioet.session.guest import Grant
from trioet.wire.messages import MAX_SIZE

BEGINS: Final = GUEST
"""How such a request begins. An older keeper refuses it."""

MAX_SECONDS: Final = 30 * 24 * 3600
"""The longest time that can be asked for."""

SIGNALS: Final = frozenset(map(int, signal.valid_signals()))


@dataclass(frozen=True, slots=True)
class GuestRequest:
    """A request for one session."""

    credentials: Credentials
    term: str
    environment: Mapping[bytes, bytes]
    grant: Grant
    remote: bool = False
    """The guest comes from another host: by the routers, or a port of the keeper's, beside the
    guests' own door. Nobody waits on the request's connection for the end of the session."""

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        grant = self.grant
        fields = {
            "id": self.credentials.client_id,
            "passkey": self.credentials.passkey,
            "term": self.term,
            "write": "yes" if grant.write else "",
            "rows": grant.rows,
            "columns": grant.columns,
            "start": math.ceil(grant.start_s),
            "linger": math.ceil(grant.linger_s),
            "close_signal": int(grant.close_signal),
            "close_timeout": math.ceil(grant.close_timeout_s),
            "directory": os.fsdecode(grant.directory),
            "remote": "yes" if self.remote else "",
        }
        return encode_guest(fields, grant.argv, self.environment)


def parse_guest_request(data: bytes) -> GuestRequest:
    """Parse a request that begins as these do.

    Raises:
      MessageError: it makes no sense.
    """
    fields: dict[bytes, bytes] = {}
    environment: list[bytes] = []
    argv: list[bytes] = []
    for record in data.removeprefix(BEGINS).split(b"\0")[:-1]:
        name, equals, value = record.partition(b"=")
        if not equals:
            raise MessageError("a request with a record that is no name=value")
        if name == b"env":
            environment.append(value)
        elif name == b"arg":
            argv.append(value)
        else:
            fields[name] = value
    client_id, passkey = fields.get(b"id", b""), fields.get(b"passkey", b"")
    if not (is_client_id(client_id) and is_passkey(passkey)):
        raise MessageError("a session's id has 16 letters and digits, and its passkey 32")
    return GuestRequest(
        Credentials(client_id.decode(), passkey.decode()),
        os.fsdecode(fields.get(b"term", b"")),
        _environment(tuple(environment)),
        _grant(fields, tuple(argv)),
        remote=fields.get(b"remote") == b"yes",
    )


@lru_cache(maxsize=8)
def _environment(records: tuple[bytes, ...]) -> Mapping[bytes, bytes]:
    """One for all visitors of a `trioet web`, for whom it is the same: it takes kilobytes."""
    pairs = (record.partition(b"=") for record in records)
    return MappingProxyType({name: value for name, _, value in pairs})


def _grant(fields: Mapping[bytes, bytes], argv: tuple[bytes, ...]) -> Grant:
    if not (argv and argv[0].startswith(b"/")):
        raise MessageError("a guest's program has to be named by its path")
    close_signal = _number(fields, b"close_signal", max(SIGNALS))
    if close_signal not in SIGNALS:
        raise MessageError(f"{close_signal} is no signal's number")
    return Grant(
        argv=argv,
        directory=fields.get(b"directory") or b"/",
        write=fields.get(b"write") == b"yes",
        rows=_number(fields, b"rows", MAX_SIZE),
        columns=_number(fields, b"columns", MAX_SIZE),
        start_s=_number(fields, b"start", MAX_SECONDS),
        linger_s=_number(fields, b"linger", MAX_SECONDS),
        close_signal=close_signal,
        close_timeout_s=_number(fields, b"close_timeout", MAX_SECONDS),
    )


def _number(fields: Mapping[bytes, bytes], name: bytes, most: int) -> int:
    text = fields.get(name, b"")
    if not (text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise MessageError(f"{name.decode()} is no number from 0 to {most}")
    return int(text)
