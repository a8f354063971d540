"""How long a key takes there and back."""

from __future__ import annotations

import statistics
import time
from typing import Final

from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import echo_time, open_session, run_raw_cat
from bench.terminal import Terminal

APART_S: Final = 0.02
KEYS: Final = (b"v", b"w", b"y", b"z")
"""Different ones in turn, and none that escape sequences are made of."""


def measure(peer: Peer, scale: Scale) -> Sample:
    with open_session(peer) as terminal:
        run_raw_cat(terminal)
        paced = _echoes(terminal, scale.keys, APART_S)
        if peer.name == "mosh":  # waits for its next frame by design: says nothing more
            return _paced(paced)
        back_to_back = _echoes(terminal, scale.keys_back_to_back, 0)
    return {**_paced(paced), "back_to_back": statistics.median(back_to_back)}


def _paced(times: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}


def _echoes(terminal: Terminal, count: int, apart_s: float) -> list[float]:
    times = []
    due = time.perf_counter()
    for number in range(count):
        due = max(due + apart_s, time.perf_counter())
        time.sleep(max(0, due - time.perf_counter()))
        times.append(echo_time(terminal, KEYS[number % len(KEYS)]))
    return times


ROW: Final = Row(
    name="echo",
    lines=(
        Line(
            "echo of a key, 300 keys 20 ms apart, p50 / p99, ms",
            ("p50", "p99"),
            "below ET and ssh",
            factor=1000,
        ),
        Line("the same back to back, p50, ms", ("back_to_back",), "≤ ET", factor=1000),
    ),
    measure=measure,
)
