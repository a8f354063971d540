"""What a row of the table is: something measured of each peer, in rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

Sample = Mapping[str, float]
"""One round's figures of one peer, by metric."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: ``FULL`` for figures, ``QUICK`` to see that it all works."""

    keys: int
    keys_back_to_back: int
    output_bytes: int
    flood_s: float
    idle_s: float
    sessions: int
    blackout_s: float
    resets: int


FULL: Final = Scale(
    keys=300,
    keys_back_to_back=1000,
    output_bytes=200_000_000,
    flood_s=2.0,
    idle_s=20.0,
    sessions=50,
    blackout_s=12.0,
    resets=5,
)
QUICK: Final = Scale(
    keys=30,
    keys_back_to_back=100,
    output_bytes=10_000_000,
    flood_s=0.5,
    idle_s=5.0,
    sessions=4,
    blackout_s=2.0,
    resets=1,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: one or more metrics, written with slashes between."""

    label: str
    metrics: tuple[str, ...]
    goal: str
    factor: float = 1.0
    """From the unit measured (seconds, bytes) to the unit shown."""
    digits: int = 2
    base: str = ""
    """What trioet's first metric is compared with at the others; the same metric if empty."""


class Contestant(Protocol):
    """What is measured: a column of the table."""

    name: str
    title: str
    only: tuple[str, ...]

    def version(self) -> str:
        """What exactly it is."""


PeerT = TypeVar("PeerT", bound=Contestant)


@dataclass(frozen=True)
class Row(Generic[PeerT]):
    """One measurement, which may fill several lines."""

    name: str
    lines: tuple[Line, ...]
    measure: Callable[[PeerT, Scale], Sample]
    suits: Callable[[PeerT], bool] = lambda peer: True
    rounds: int = 3
