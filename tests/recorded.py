"""Recorded sessions of real Eternal Terminal programs, ready to be replayed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.json"))

CLIENT_TO_SERVER, SERVER_TO_CLIENT = "c2s", "s2c"


@dataclass(frozen=True)
class Transcript:
    """One recorded session: what crossed on which connection, and what it means."""

    name: str
    client_id: bytes
    passkey: bytes
    fields: dict[str, Any]

    @property
    def connections(self) -> list[int]:
        """The connections on which something was said, in order."""
        return sorted({c["conn"] for c in self.fields["chunks"] if c["event"] == "data"})

    def chunks(self, connection: int, direction: str) -> list[bytes]:
        """What was read from one side of one connection, as it was read."""
        return [
            bytes.fromhex(chunk["hex"])
            for chunk in self.fields["chunks"]
            if chunk["event"] == "data" and (chunk["conn"], chunk["dir"]) == (connection, direction)
        ]

    def packets(self, direction: str) -> list[tuple[int, int, bytes]]:
        """Type, length and first bytes of every packet of one direction, once, in order.

        The recording keeps 64 bytes of a plaintext at most.
        """
        found = {
            packet["seq"]: (
                packet["header"],
                packet["pt_len"],
                bytes.fromhex(packet["pt_hex"].removesuffix("...")),
            )
            for packet in self.fields["decoded"]
            if packet["kind"] in ("packet", "catchup-packet") and packet["dir"] == direction
        }
        return [found[ordinal] for ordinal in sorted(found)]


def load(path: Path) -> Transcript:
    fields = json.loads(path.read_text())
    return Transcript(path.stem, fields["id"].encode(), fields["passkey"].encode(), fields)
