"""What one step of the doctor found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How a step ended. Only FAILED means that something is wrong."""

    WELL = "ok"
    WORTH_KNOWING = "warning"
    """Sessions work, yet the user may care."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    ``step`` is a stable key. ``what`` says what was found and where, ``fix`` what to do about
    it, and ``command`` what to type here for it; ``facts`` are the same for programs, JSON
    values by stable keys. ``took_s`` are the seconds that the step took. ``hop`` is the jumphost
    that it is about; empty if it is about the destination, or this side.
    """

    step: str
    outcome: Outcome
    what: str
    fix: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    took_s: float = 0.0
    command: str = ""
    hop: str = ""
