"""What a session costs while nobody types."""

from __future__ import annotations

import time
from typing import Final

from bench import processes
from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import open_session
from bench.terminal import Terminal

SETTLE_S: Final = 12.0
"""Longer than an unused worker thread stays."""


def measure(peer: Peer, scale: Scale) -> Sample:
    with open_session(peer) as terminal:
        return wakeups(peer, terminal, scale)


def wakeups(peer: Peer, terminal: Terminal, scale: Scale) -> Sample:
    """Wake-ups per second of client and server, of a session in which nothing happens."""
    terminal.settle(SETTLE_S)
    sides = {
        "client": peer.client_processes(terminal.pid),
        "server": peer.server_processes(),
    }
    before = {side: processes.wakeups(pids) for side, pids in sides.items()}
    begun = time.perf_counter()
    time.sleep(scale.idle_s)
    took = time.perf_counter() - begun
    after = {side: processes.wakeups(pids) for side, pids in sides.items()}
    return {side: _further(before[side], after[side]) / took for side in sides}


def _further(before: dict[str, int], after: dict[str, int]) -> int:
    """Of a thread that ended meanwhile, which is rare by then, nothing is known."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


ROW: Final = Row(
    name="idle",
    lines=(
        Line(
            "wake-ups per second, one idle session, client / server side",
            ("client", "server"),
            "< 0.5 / < 0.5",
        ),
    ),
    measure=measure,
    rounds=1,
)
