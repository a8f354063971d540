"""What ssh brings back from a host that was asked for a guest's session: ``TRIOET-GUEST:``, or
why there is none."""

from __future__ import annotations

from typing import Final, NamedTuple

from trioet.bootstrap.credentials import MAX_TERM
from trioet.bootstrap.host import MAX_PORTS
from trioet.bootstrap.invitation import Missing, checked_port, json_object
from trioet.bootstrap.offer import OfferReader, offer_line
from trioet.bootstrap.plain import plain
from trioet.errors import PeerError, StepFailed

UPDATE_HINT: Final = "`trioet install {}` updates it there"


class GuestOffer(NamedTuple):
    """A guest's session is there; ``ports`` are those of the routers or the keeper that has it."""

    ports: tuple[int, ...]
    version: str


class GuestReader(OfferReader[GuestOffer]):
    """Find the offer."""

    ANSWER = "session"
    LINE = offer_line("TRIOET-GUEST")

    def read(self, details: bytes) -> GuestOffer:
        fields = json_object(details)
        ports, version = fields.get("ports"), fields.get("version")
        if not isinstance(ports, list):
            raise PeerError("the far side's details list no ports")
        checked = tuple(dict.fromkeys(checked_port(each) for each in ports))[:MAX_PORTS]
        return GuestOffer(checked, plain(version)[:MAX_TERM] if isinstance(version, str) else "")

    def too_old(self) -> StepFailed:
        what = f"the trioet on {self._host} is too old for visitors of the web"
        return StepFailed("guest", what, UPDATE_HINT.format(self._host))

    def missing(self) -> StepFailed:
        what = f"trioet was not found on {self._host}"
        hint = f"`trioet install {self._host}` puts it there"
        return Missing("terminal", what, hint)
