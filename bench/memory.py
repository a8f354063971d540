"""What each further idle session costs the server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from bench import processes
from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import connected

MIB: Final = 1024 * 1024
SETTLE_S: Final = 2.0


def measure(peer: Peer, scale: Scale) -> Sample:
    with ExitStack() as sessions:
        first = sessions.enter_context(connected(peer))
        first.settle(SETTLE_S)
        one = processes.memory(peer.server_processes())
        for _ in range(scale.sessions - 1):
            sessions.enter_context(connected(peer))
        first.settle(SETTLE_S)
        all_of_them = processes.memory(peer.server_processes())
    further = scale.sessions - 1
    return {
        "rss": (all_of_them.rss - one.rss) / further,
        "pss": (all_of_them.pss - one.pss) / further,
    }


ROW: Final = Row(
    name="memory",
    lines=(
        Line(
            "server memory of each further idle session (50 sessions), MB RSS / PSS",
            ("rss", "pss"),
            "< 0.2, shell not counted",
            factor=1 / MIB,
        ),
    ),
    measure=measure,
    rounds=1,
)
