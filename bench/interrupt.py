"""How soon Ctrl-C ends a flood, on a terminal slower than the network."""

from __future__ import annotations

import time
from typing import Final

from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import PROMPT, open_session
from bench.terminal import BenchError, Terminal

RATE: Final = 5_000_000
"""Bytes a second that the terminal displays."""

STEP: Final = 4096
PATIENCE_S: Final = 30.0


def measure(peer: Peer, scale: Scale) -> Sample:
    with open_session(peer) as terminal:
        terminal.write(b"yes\r")
        _display(terminal, scale.flood_s, until=None)
        pressed = time.perf_counter()
        terminal.write(b"\x03")
        return {"seconds": _display(terminal, PATIENCE_S, until=PROMPT) - pressed}


def _display(terminal: Terminal, seconds: float, until: bytes | None) -> float:
    """Read at RATE for ``seconds``, or until ``until`` is displayed; return when."""
    tail = b""
    begun = now = time.perf_counter()
    due = begun
    while now < begun + seconds:
        data = terminal.read(min(begun + seconds - now, 0.05), STEP)
        now = time.perf_counter()
        tail = (tail + data)[-STEP:]
        if until and until in tail:
            return now
        # What was not read in time is not made up for: the terminal was idle then.
        due = max(due, now - 0.01) + len(data) / RATE
        if due > now:
            time.sleep(due - now)
        now = time.perf_counter()
    if until:
        raise BenchError(f"no prompt {seconds:g} s after Ctrl-C; last: {terminal.shown}")
    return now


ROW: Final = Row(
    name="interrupt",
    lines=(
        Line("Ctrl-C to prompt under `yes`, terminal reading 5 MB/s, s", ("seconds",), "≤ ssh"),
    ),
    measure=measure,
    rounds=5,
)
