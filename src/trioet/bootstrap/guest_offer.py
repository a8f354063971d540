"""What ssh brings back from a host that was asked for a guest's session, or why there is none.

Anywhere in whatever the far side's start-up files print, a line ``TRIOET-GUEST:`` with the
details as JSON. Instead, on failure, what :mod:`trioet.bootstrap.invitation` knows.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from trioet.bootstrap.credentials import MAX_TERM
from trioet.bootstrap.host import MAX_PORTS
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
from trioet.bootstrap.relay_offer import OLDER
from trioet.errors import PeerError, StepFailed

OFFER: Final = re.compile(rb"^TRIOET-GUEST:([^\n]{0,%d}?)\r?\n" % MAX_LINE, re.MULTILINE)

UPDATE_HINT: Final = "`trioet install {}` updates it there"


class GuestOffer(NamedTuple):
    """A guest's session is there; ``ports`` are those of the routers or the keeper that has it."""

    ports: tuple[int, ...]
    version: str


class GuestReader(AnswerReader[GuestOffer]):
    """Find the offer."""

    ANSWER = "session"

    def feed(self, data: bytes) -> GuestOffer | None:
        self._output += data
        found, failure = OFFER.search(self._output), FAILURE.search(self._output)
        if failure and (found is None or failure.start() < found.start()):
            self._fail(failure)
        if (found.start() if found else len(self._output)) > MAX_NOISE:
            raise self._too_noisy()
        return _offer(found[1]) if found is not None else None

    def end(self) -> GuestOffer | None:
        return self.feed(b"\n")

    def _fail(self, failure: re.Match[bytes]) -> NoReturn:
        if failure[2] is not None and OLDER in failure[2]:
            what = f"the trioet on {self._host} is too old for visitors of the web"
            raise StepFailed("guest", what, UPDATE_HINT.format(self._host))
        super()._fail(failure)

    def missing(self) -> StepFailed:
        what = f"trioet was not found on {self._host}"
        hint = f"`trioet install {self._host}` puts it there"
        return Missing("terminal", what, hint)


def _offer(details: bytes) -> GuestOffer:
    fields = json_object(details)
    ports, version = fields.get("ports"), fields.get("version")
    if not isinstance(ports, list):
        raise PeerError("the far side's details list no ports")
    checked = tuple(dict.fromkeys(checked_port(each) for each in ports))[:MAX_PORTS]
    return GuestOffer(checked, plain(version)[:MAX_TERM] if isinstance(version, str) else "")
