"""The table: medians with their spread, and trioet's ratio to the others."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.rows import Line, Row, Sample

NOTHING: Final = "-"
COMPARED: Final = (
    ("trioet", "et"),
    ("trioet", "ssh"),
    ("scon", "goscon"),
    ("scon2", "goscon"),
    ("web", "gotty"),
    ("web", "ttyd"),
    ("web-webtty", "gotty"),
    ("web-tty", "ttyd"),
)
"""Peers of which a table with both shows the ratio."""


@dataclass
class Results:
    """All that was measured of one row: for each peer a sample, or None, per round."""

    row: Row[Any]
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)
    troubles: dict[str, list[str]] = field(default_factory=dict)

    def figures(self, peer: str, metric: str) -> list[float]:
        """Every figure of a metric, in the order measured."""
        return [
            sample[metric]
            for sample in self.samples.get(peer, [])
            if sample is not None and metric in sample
        ]

    def ratio(self, own: str, peer: str, line: Line) -> float | None:
        """Median over the rounds of the figure of ``own`` by that of ``peer`` in the same round."""
        ours, theirs = line.metrics[0], line.base or line.metrics[0]
        rounds = zip(self.samples.get(own, []), self.samples.get(peer, []), strict=False)
        ratios = [
            mine[ours] / other[theirs]
            for mine, other in rounds
            if mine and other and ours in mine and other.get(theirs)
        ]
        return statistics.median(ratios) if ratios else None


def markdown(results: Sequence[Results], titles: dict[str, str]) -> str:
    """One table, peers as columns."""
    compared = [pair for pair in COMPARED if titles.keys() >= {*pair}]
    ratios = [f"{titles[own]} ÷ {titles[peer]}" for own, peer in compared]
    header = ["", *titles.values(), *ratios, "goal"]
    lines = [header, ["---"] * len(header)]
    for result in results:
        for line in result.row.lines:
            cells = [_cell(result, peer, line) for peer in titles]
            if set(cells) == {NOTHING}:
                continue
            ratios = [_ratio(result.ratio(own, peer, line)) for own, peer in compared]
            lines.append([line.label, *cells, *ratios, line.goal])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def footnotes(results: Sequence[Results]) -> list[str]:
    """What went wrong, one line each."""
    return [
        f"{result.row.name}, {peer}: {trouble}"
        for result in results
        for peer, troubles in result.troubles.items()
        for trouble in troubles
    ]


def as_json(results: Sequence[Results]) -> list[dict[str, object]]:
    """Every figure, in seconds, bytes and counts, in the order measured."""
    return [
        {"row": result.row.name, "samples": result.samples, "troubles": result.troubles}
        for result in results
    ]


def _cell(result: Results, peer: str, line: Line) -> str:
    parts = [
        _spread([figure * line.factor for figure in result.figures(peer, metric)], line.digits)
        for metric in line.metrics
    ]
    if not any(parts):
        return "failed" if result.troubles.get(peer) else NOTHING
    return " / ".join(part or "?" for part in parts)


def _spread(figures: list[float], digits: int) -> str:
    if not figures:
        return ""
    median = f"{statistics.median(figures):.{digits}f}"
    if len(figures) == 1:
        return f"**{median}**"
    return f"**{median}** ({min(figures):.{digits}f}-{max(figures):.{digits}f})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
