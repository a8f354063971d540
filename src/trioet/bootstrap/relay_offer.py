"""What ssh brings back from a jumphost: a relay, or why there is none.

Anywhere in whatever the far side's start-up files print, a line ``TRIOET-RELAY:`` with the
details as JSON. Instead, on failure, what :mod:`trioet.bootstrap.invitation` knows.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from trioet.bootstrap.credentials import MAX_TERM, is_client_id
from trioet.bootstrap.invitation import (
    FAILURE,
    MAX_LINE,
    MAX_NOISE,
    AnswerReader,
    Missing,
    checked_port,
    json_object,
)
from trioet.bootstrap.plain import plain
from trioet.errors import PeerError, StepFailed

OFFER: Final = re.compile(rb"^TRIOET-RELAY:([^\n]{0,%d}?)\r?\n" % MAX_LINE, re.MULTILINE)

MISSING_HINT: Final = (
    "a session through it needs trioet there, on the PATH of ssh's commands or in ~/.local/bin: "
    "`trioet install {}` from here, or `pipx install trioet` or `uv tool install trioet` there"
)

OLDER: Final = b"stdin must begin with a line id/passkey_TERM"
"""What a trioet says there that knows no relays: it takes the line for a session's."""


class RelayOffer(NamedTuple):
    """A relay on a jumphost: its id, and the port of the router or keeper that has it."""

    relay_id: str
    port: int
    router: bool | None = None
    version: str | None = None


class RelayReader(AnswerReader[RelayOffer]):
    """Find the relay."""

    ANSWER = "relay"

    def feed(self, data: bytes) -> RelayOffer | None:
        self._output += data
        found, failure = OFFER.search(self._output), FAILURE.search(self._output)
        if failure and (found is None or failure.start() < found.start()):
            self._fail(failure)
        if (found.start() if found else len(self._output)) > MAX_NOISE:
            raise self._too_noisy()
        return _offer(found[1]) if found is not None else None

    def end(self) -> RelayOffer | None:
        return self.feed(b"\n")

    def _fail(self, failure: re.Match[bytes]) -> NoReturn:
        if failure[2] is not None and OLDER in failure[2]:
            what = f"the trioet on the jumphost {self._host} is too old to relay"
            raise StepFailed("relay", what, "update it there")
        super()._fail(failure)

    def missing(self) -> StepFailed:
        what = f"trioet was not found on the jumphost {self._host}"
        return Missing("terminal", what, MISSING_HINT.format(self._host))


def _offer(details: bytes) -> RelayOffer:
    fields = json_object(details)
    relay_id, router, version = (fields.get(key) for key in ("id", "router", "version"))
    if not (isinstance(relay_id, str) and relay_id.isascii() and is_client_id(relay_id.encode())):
        raise PeerError("the jumphost's details hold no relay's id")
    return RelayOffer(
        relay_id,
        checked_port(fields.get("port")),
        router if isinstance(router, bool) else None,
        plain(version)[:MAX_TERM] if isinstance(version, str) else None,
    )
