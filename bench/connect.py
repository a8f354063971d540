"""How long it takes to a prompt."""

from __future__ import annotations

import time
from typing import Final

from bench import processes
from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import connected

REST_S: Final = 0.2
"""Before each: the session before has ended by then at its other end, too."""


def measure(peer: Peer, scale: Scale) -> Sample:
    """Twice where it makes a difference: with nothing of the user's on the far side, and again.

    The second is what one meets every day: the keeper stays until ten minutes after the
    last session.
    """
    kept = peer.kept_processes()
    if not kept:
        return {"seconds": _connect(peer)}
    processes.end(kept)
    return {"first": _connect(peer), "seconds": _connect(peer)}


def _connect(peer: Peer) -> float:
    time.sleep(REST_S)
    with connected(peer, peer.login_argv()) as terminal:
        return terminal.shown_at - terminal.started


ROW: Final = Row(
    name="connect",
    lines=(
        Line("`connect` to prompt, s", ("seconds",), "≤ 1.2 of ssh", digits=3),
        Line(
            "the same, first session of its user (starts the keeper), s",
            ("first",),
            "",
            digits=3,
            base="seconds",
        ),
    ),
    measure=measure,
    rounds=10,
)
