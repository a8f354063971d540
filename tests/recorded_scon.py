"""Recorded sessions of a real goscon 1.1.0, and vectors of its Go package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parent / "transcripts" / "goscon"
SESSIONS = sorted(path for path in PLACE.glob("*.json") if "chunks" in path.read_text())


def vectors() -> dict[str, Any]:
    return load(PLACE / "vectors.json")


def load(path: Path) -> dict[str, Any]:
    """One recording: its fields as they are in the file."""
    fields: dict[str, Any] = json.loads(path.read_text())
    return fields


def connections(recording: dict[str, Any]) -> list[int]:
    """The connections on which something was said, in order."""
    return sorted({chunk["conn"] for chunk in recording["chunks"] if chunk["event"] == "data"})


def said(recording: dict[str, Any], connection: int, direction: str) -> bytes:
    """All that one side of one connection said; ``direction`` is c2s or s2c."""
    return b"".join(
        bytes.fromhex(chunk["hex"])
        for chunk in recording["chunks"]
        if chunk["event"] == "data" and (chunk["conn"], chunk["dir"]) == (connection, direction)
    )
