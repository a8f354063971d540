"""How fast output comes, and what it costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bench import processes
from bench.peers import Peer
from bench.rows import Line, Row, Sample, Scale
from bench.session import open_session
from bench.terminal import Terminal

PART: Final = 10_000_000
"""Bytes of the file, which is shown as often as it takes. A line is 80 bytes."""

MARKER: Final = b"=all=of=it="
PATIENCE_S: Final = 120.0


def measure(peer: Peer, scale: Scale) -> Sample:
    text = _text(peer.place)
    with open_session(peer) as terminal:
        involved = peer.server_processes() | peer.client_processes(terminal.pid)
        cpu_before = processes.cpu_seconds(involved)
        seconds = _show(terminal, text, scale.output_bytes // PART)
        cpu = processes.cpu_seconds(involved) - cpu_before
    return {
        "rate": scale.output_bytes / seconds,
        "cpu_per_byte": cpu / scale.output_bytes,
    }


def _show(terminal: Terminal, text: Path, times: int) -> float:
    command = f"f={text}; cat {'$f ' * times}; echo =all''=of=it=\r".encode()
    begun = time.perf_counter()
    terminal.write(command)
    return terminal.drain_until(MARKER, PATIENCE_S) - begun


def _text(place: Path) -> Path:
    path = place / "text"
    if not path.exists():
        line = bytes(range(48, 123)) + b"    \n"
        path.write_bytes(line * (PART // len(line)))
    return path


ROW: Final = Row(
    name="bulk",
    lines=(
        Line("200 MB of output, MB/s", ("rate",), "ahead of ssh", factor=1e-6, digits=0),
        Line(
            "CPU seconds per GB of output, all processes but shell and driver",
            ("cpu_per_byte",),
            "≤ ET",
            factor=1e9,
            digits=1,
        ),
    ),
    measure=measure,
    suits=lambda peer: peer.name != "mosh",  # skips what it has no time to show
)
