"""What ssh brings back from a jumphost: a relay, ``TRIOET-RELAY:``, or why there is none."""

from __future__ import annotations

from typing import Final, NamedTuple

from trioet.bootstrap.credentials import MAX_TERM, is_client_id
from trioet.bootstrap.invitation import Missing, checked_port, json_object
from trioet.bootstrap.offer import OfferReader, offer_line
from trioet.bootstrap.plain import plain
from trioet.errors import PeerError, StepFailed

MISSING_HINT: Final = (
    "a session through it needs trioet there, on the PATH of ssh's commands or in ~/.local/bin: "
    "`trioet install {}` from here, or `pipx install trioet` or `uv tool install trioet` there"
)


class RelayOffer(NamedTuple):
    """A relay on a jumphost: its id, and the port of the router or keeper that has it."""

    relay_id: str
    port: int
    router: bool | None = None
    version: str | None = None


class RelayReader(OfferReader[RelayOffer]):
    """Find the relay."""

    ANSWER = "relay"
    LINE = offer_line("TRIOET-RELAY")

    def read(self, details: bytes) -> RelayOffer:
        fields = json_object(details)
        relay_id, router, version = (fields.get(key) for key in ("id", "router", "version"))
        if not (
            isinstance(relay_id, str) and relay_id.isascii() and is_client_id(relay_id.encode())
        ):
            raise PeerError("the jumphost's details hold no relay's id")
        return RelayOffer(
            relay_id,
            checked_port(fields.get("port")),
            router if isinstance(router, bool) else None,
            plain(version)[:MAX_TERM] if isinstance(version, str) else None,
        )

    def too_old(self) -> StepFailed:
        what = f"the trioet on the jumphost {self._host} is too old to relay"
        return StepFailed("relay", what, "update it there")

    def missing(self) -> StepFailed:
        what = f"trioet was not found on the jumphost {self._host}"
        return Missing("terminal", what, MISSING_HINT.format(self._host))
