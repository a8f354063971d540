"""What tunnels carry, what that costs, and what the user at the terminal notices of it."""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench import processes
from bench.applications import Server, Streams, idle_connections, setups
from bench.distance import Distance
from bench.idle import wakeups
from bench.peers import Peer
from bench.place import free_port
from bench.rows import QUICK, Line, Row, Sample, Scale
from bench.session import CONNECT_S, END_S, FIRST_PROMPT, echo_time, run_raw_cat
from bench.terminal import BenchError, Terminal

STREAM_BYTES: Final = 500_000_000
QUICK_STREAM_BYTES: Final = 20_000_000
STREAM_MIN_S: Final = 3.0
"""Streams follow each other for this long at least: a fast one alone has too few echoes."""
STREAM_PATIENCE_S: Final = 120.0

KEYS_APART_S: Final = 0.01
KEYS: Final = (b"v", b"w", b"y", b"z")
ECHO_PATIENCE_S: Final = 60.0

SETUPS_S: Final = 3.0
QUICK_SETUPS_S: Final = 0.5
AT_A_TIME: Final = 20
ONE_WAY_S: Final = 0.01
"""Between the two ends, for what is measured from afar."""

CHANNELS: Final = 1000
QUICK_CHANNELS: Final = 100
CHANNELS_SETTLE_S: Final = 2.0
OPEN_FILES: Final = 4096
"""Enough for all these channels in any one process."""

LISTEN: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp."""

OPTIONS: Final[dict[str, Callable[[str, int, int], list[str]]]] = {
    "trioet": lambda side, port, to: [f"-{side}", f"{port}:localhost:{to}"],
    "ssh": lambda side, port, to: [f"-{side}", f"{port}:localhost:{to}"],
    "least": lambda side, port, to: [f"-{side}", f"{port}:localhost:{to}"],
    "et": lambda side, port, to: [{"L": "-t", "R": "-r"}[side], f"{port}:{to}"],
}
"""What makes each peer listen on ``port``, near (L) or far (R), for the other side's ``to``."""


def suits(peer: Peer) -> bool:
    return peer.name in OPTIONS


def allow_many_files(count: int = OPEN_FILES) -> None:
    """Let this process, and what it starts from now on, open a file for each of many channels."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


@contextmanager
def tunnel(
    peer: Peer, side: str, to: int, through: int | None = None
) -> Iterator[tuple[Terminal, int]]:
    """A session at its prompt with one tunnel to port ``to``, and the port it listens on.

    ``through`` is a port that leads to the peer's server.

    Raises:
      BenchError: there is no prompt within CONNECT_S, or nobody listens then.
    """
    port = free_port()
    with _started(peer, [], side, port, to, through) as terminal:
        terminal.wait_for(FIRST_PROMPT, CONNECT_S)
        _wait_listening(terminal, port)
        yield terminal, port


@contextmanager
def tunnel_alone(peer: Peer, side: str, to: int) -> Iterator[tuple[Terminal, int]]:
    """The same without a terminal on the far side: the peer's ``-N``.

    Raises:
      BenchError: nobody listens within CONNECT_S.
    """
    port = free_port()
    with _started(peer, ["-N"], side, port, to) as terminal:
        try:
            _wait_listening(terminal, port)
            yield terminal, port
        finally:
            # There is no shell whose end would be the session's.
            terminal.close()
            processes.end(peer.kept_processes())


@contextmanager
def _started(
    peer: Peer, options: list[str], side: str, port: int, to: int, through: int | None = None
) -> Iterator[Terminal]:
    *command, host = peer.argv(through)
    argv = [*command, *options, *OPTIONS[peer.name](side, port, to), host]
    with Terminal(argv, peer.near_environment()) as terminal:
        try:
            yield terminal
        finally:
            peer.end_shells()
            terminal.wait_end(END_S)


def _wait_listening(terminal: Terminal, port: int) -> None:
    deadline = time.monotonic() + CONNECT_S
    while not _listens(port):
        if time.monotonic() > deadline:
            raise BenchError(f"nobody listens on port {port}; last: {terminal.shown}")
        terminal.read(0.02)


def _listens(port: int) -> bool:
    """Whether somebody does, without a connection that would go through the tunnel."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    return any(
        fields[1].endswith(f":{port:04X}") and fields[3] == LISTEN
        for table in tables
        if table.exists()
        for fields in map(str.split, table.read_text().splitlines()[1:])
    )


def measure_streams(side: str, streams: int, stream_bytes: int, peer: Peer, scale: Scale) -> Sample:
    """In both directions, one after the other, with somebody at the terminal all the time."""
    figures: dict[str, float] = {}
    with Server() as server, tunnel(peer, side, server.port) as (terminal, port):
        run_raw_cat(terminal)
        for direction in ("there", "back"):
            flow = partial(Streams, port, direction, streams, stream_bytes)
            least_s = 0 if scale is QUICK else STREAM_MIN_S
            for name, figure in _streamed(peer, terminal, flow, least_s).items():
                figures[f"{direction}_{name}"] = figure
    return figures


def _streamed(
    peer: Peer, terminal: Terminal, flow: Callable[[], Streams], least_s: float
) -> dict[str, float]:
    involved = peer.server_processes() | peer.client_processes(terminal.pid)
    cpu_before = processes.cpu_seconds(involved)
    count, seconds, echoes = 0, 0.0, list[float]()
    while count == 0 or seconds < least_s:
        with flow() as under_way:
            typed = _type_meanwhile(terminal, under_way)
            streamed = under_way.result()
        count += streamed.count
        seconds += streamed.last - streamed.first
        echoes += [
            took for at, took in typed if at <= streamed.last and streamed.first <= at + took
        ]
    figures = {
        "rate": count / seconds,
        "cpu_per_byte": (processes.cpu_seconds(involved) - cpu_before) / count,
    }
    if echoes:
        figures["p50"] = statistics.median(echoes)
        figures["p99"] = sorted(echoes)[math.ceil(0.99 * len(echoes)) - 1]  # there may be few
    return figures


def _type_meanwhile(terminal: Terminal, under_way: Streams) -> list[tuple[float, float]]:
    """Keys while the streams last: when each was typed, and how long its echo took."""
    typed: list[tuple[float, float]] = []
    due = begun = time.perf_counter()
    while under_way.under_way():
        if due - begun > STREAM_PATIENCE_S:
            raise BenchError(f"streams did not end within {STREAM_PATIENCE_S:g} s")
        time.sleep(max(0, due - time.perf_counter()))
        at = time.perf_counter()
        typed.append((at, echo_time(terminal, KEYS[len(typed) % len(KEYS)], ECHO_PATIENCE_S)))
        due = max(due + KEYS_APART_S, time.perf_counter())
    return typed


def measure_setups(peer: Peer, scale: Scale) -> Sample:
    seconds = QUICK_SETUPS_S if scale is QUICK else SETUPS_S
    figures = {}
    for side in "LR":
        # With a terminal: without one ssh does not turn off Nagle's algorithm, and pays for it.
        with Server() as server, tunnel(peer, side, server.port) as (_, port):
            for at_a_time in (1, AT_A_TIME):
                figures[f"{side}_{at_a_time}"] = setups(port, at_a_time, seconds)
    return figures


def measure_setups_from_afar(peer: Peer, scale: Scale) -> Sample:
    seconds = QUICK_SETUPS_S if scale is QUICK else SETUPS_S
    figures = {}
    for side in "LR":
        with (
            Server() as server,
            Distance(peer.server_port, ONE_WAY_S) as distance,
            tunnel(peer, side, server.port, distance.port) as (_, port),
        ):
            for at_a_time in (1, AT_A_TIME):
                figures[f"{side}_{at_a_time}"] = setups(port, at_a_time, seconds)
    return figures


def measure_memory(peer: Peer, scale: Scale) -> Sample:
    channels = QUICK_CHANNELS if scale is QUICK else CHANNELS
    with _idle_channel(peer) as (terminal, port):
        terminal.settle(CHANNELS_SETTLE_S)
        one = processes.memory(peer.server_processes())
        with idle_connections(port, channels):
            terminal.settle(CHANNELS_SETTLE_S)
            all_of_them = processes.memory(peer.server_processes())
    return {
        "rss": (all_of_them.rss - one.rss) / channels,
        "pss": (all_of_them.pss - one.pss) / channels,
    }


def measure_idle(peer: Peer, scale: Scale) -> Sample:
    with _idle_channel(peer) as (terminal, _):
        return wakeups(peer, terminal, scale)


@contextmanager
def _idle_channel(peer: Peer) -> Iterator[tuple[Terminal, int]]:
    """A tunnel with one connection through it, over which nothing comes any more."""
    with (
        Server() as server,
        tunnel_alone(peer, "L", server.port) as (terminal, port),
        idle_connections(port, 1),
    ):
        yield terminal, port


def rows(stream_bytes: int | None = None) -> Sequence[Row[Peer]]:
    """The rows; each stream measurement moves ``stream_bytes`` bytes at a time, or its default."""
    kinds = (
        ("tunnel", "L", 1),
        ("tunnels", "L", 8),
        ("reverse", "R", 1),
        ("reverses", "R", 8),
    )
    streams = [_stream_row(name, side, count, stream_bytes) for name, side, count in kinds]
    return (*streams, SETUPS_ROW, FAR_SETUPS_ROW, MEMORY_ROW, IDLE_ROW)


def _stream_row(name: str, side: str, streams: int, stream_bytes: int | None) -> Row[Peer]:
    def measure(peer: Peer, scale: Scale) -> Sample:
        default = QUICK_STREAM_BYTES if scale is QUICK else STREAM_BYTES
        return measure_streams(side, streams, stream_bytes or default, peer, scale)

    what = "one stream" if streams == 1 else f"{streams} streams at once"
    return Row(
        name=name,
        lines=(
            Line(
                f"-{side}, {what}, MB/s from listener to destination / back",
                ("there_rate", "back_rate"),
                "≥ 3 ET, ≥ ssh",
                factor=1e-6,
                digits=0,
            ),
            Line(
                "echo of a key meanwhile, p50 / p99 there, p50 / p99 back, ms",
                ("there_p50", "there_p99", "back_p50", "back_p99"),
                "p50 < 3, p99 < 10",
                factor=1000,
            ),
            Line(
                "CPU seconds per GB, there / back",
                ("there_cpu_per_byte", "back_cpu_per_byte"),
                "≤ ET",
                factor=1e9,
                digits=1,
            ),
        ),
        measure=measure,
        suits=suits,
    )


def _setups_row(name: str, from_where: str, measure: Callable[[Peer, Scale], Sample]) -> Row[Peer]:
    return Row(
        name=name,
        lines=tuple(
            Line(
                f"connections per second through -{side}{from_where}, "
                f"one by one / {AT_A_TIME} at a time",
                (f"{side}_1", f"{side}_{AT_A_TIME}"),
                "≥ ssh",
                digits=0,
            )
            for side in "LR"
        ),
        measure=measure,
        suits=suits,
    )


SETUPS_ROW: Final = _setups_row("setups", "", measure_setups)
FAR_SETUPS_ROW: Final = _setups_row(
    "far-setups", f", {2000 * ONE_WAY_S:.0f} ms of round trip", measure_setups_from_afar
)

MEMORY_ROW: Final = Row(
    name="channels",
    lines=(
        Line(
            f"server memory of each of {CHANNELS} idle channels, kB RSS / PSS",
            ("rss", "pss"),
            "",
            factor=1 / 1000,
            digits=1,
        ),
    ),
    measure=measure_memory,
    suits=suits,
    rounds=1,
)

IDLE_ROW: Final = Row(
    name="idle-tunnel",
    lines=(
        Line(
            "wake-ups per second, an idle tunnel with an idle connection, client / server side",
            ("client", "server"),
            "none but keepalive's",
        ),
    ),
    measure=measure_idle,
    suits=suits,
    rounds=1,
)
