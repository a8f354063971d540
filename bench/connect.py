"""How long it takes to a prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from bench import processes
from bench.distance import Distance
from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import connected

ONE_WAY_S: Final = 0.025

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


def measure_from_afar(peer: Peer, scale: Scale) -> Sample:
    """Every connection of theirs through a proxy, ssh's too."""
    own_port = peer.sshd.port
    with Distance(own_port, ONE_WAY_S) as login, Distance(peer.server_port, ONE_WAY_S) as line:
        if peer.name == "trioet" and not peer.kept_processes():
            _connect(peer)  # which leaves a keeper
        peer.sshd.reached_at = login.port
        try:
            return {"seconds": _connect(peer, peer.argv(line.port))}
        finally:
            peer.sshd.reached_at = own_port


def _connect(peer: Peer, argv: Sequence[str] | None = None) -> float:
    time.sleep(REST_S)
    with connected(peer, argv or peer.login_argv()) as terminal:
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

FAR_ROW: Final = Row(
    name="far-connect",
    lines=(
        Line(
            f"`connect` to prompt, {2000 * ONE_WAY_S:.0f} ms of round trip, s",
            ("seconds",),
            "",
            digits=3,
        ),
    ),
    measure=measure_from_afar,
    rounds=10,
    suits=lambda peer: peer.name in ("trioet", "et", "ssh"),
)
