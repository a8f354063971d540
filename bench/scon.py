"""Rows: what stable connections cost, with `trioet scon serve`, with goscon, and without."""

from __future__ import annotations

import multiprocessing
import os
import resource
import select
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from bench import processes
from bench.rows import QUICK, Line, Row, Sample, Scale
from bench.scon_backend import DOWN, UP
from bench.scon_client import Plain, Scp
from bench.scon_peers import OTHERS, REUSE_S, SconPeer
from bench.terminal import BenchError
from trioet.errors import TrioetError

ECHOES: Final = 3000
QUICK_ECHOES: Final = 200
BEGINNINGS: Final = 300
RESUMES: Final = 300
QUICK_TRIES: Final = 20
WARM_UP: Final = 0.1
"""The part of all tries that comes first and is not counted."""

STREAM_BYTES: Final = 1_000_000_000
QUICK_STREAM_BYTES: Final = 50_000_000

IDLE: Final = 1000
IDLE_BYTES: Final = 1000
"""Sessions of which the memory is measured, and what each has echoed before."""

CROWD: Final = 10_000
BUSY: Final = 1000
QUICK_CROWD: Final = 200
BUSY_S: Final = 5.0
PROXIED_FILES: Final = 2
"""Descriptors that one process needs for a session."""
SETTLE_S: Final = 1.0
HANGS_S: Final = 10.0
"""A crowd of which nobody is answered for so long is given up."""
CLEAN_S: Final = 10 * REUSE_S

GOAL_ECHO: Final = "< twice goscon's"
GOAL_STREAM: Final = "≥ goscon's, with 2 workers"


def measure_echo(peer: SconPeer, scale: Scale) -> Sample:
    """A byte there and back, each as soon as the one before is back."""
    with _opened(peer, "echo") as session:
        return _spread(lambda: session.echo(b"x"), QUICK_ECHOES if scale is QUICK else ECHOES)


def measure_beginning(peer: SconPeer, scale: Scale) -> Sample:
    """From connecting to the first byte that comes back."""

    def begin() -> float:
        begun = time.perf_counter()
        with _opened(peer, "echo") as session:
            session.echo(b"x")
            return time.perf_counter() - begun

    return _spread(begin, QUICK_TRIES if scale is QUICK else BEGINNINGS)


def measure_resume(peer: SconPeer, scale: Scale) -> Sample:
    """From connecting again to a byte that was lost with the connection before."""
    with _opened(peer, "echo") as session:
        assert isinstance(session, Scp), "suits() sees to it"
        session.echo(b"x")
        return _spread(session.resume, QUICK_TRIES if scale is QUICK else RESUMES)


def measure_streams(streams: int, peer: SconPeer, scale: Scale) -> Sample:
    """All at once, each from a process of its own: down, then up."""
    total = QUICK_STREAM_BYTES if scale is QUICK else STREAM_BYTES
    figures: dict[str, float] = {}
    for name, direction in (("down", DOWN), ("up", UP)):
        involved = peer.processes()
        before = processes.cpu_seconds(involved)
        seconds = _stream(peer, direction, streams, total // streams)
        figures[f"{name}_rate"] = total / seconds
        if involved:
            figures[f"{name}_cpu"] = (processes.cpu_seconds(involved) - before) / total
    return figures


def measure_memory(peer: SconPeer, scale: Scale) -> Sample:
    """What a server grows by with each session that has echoed a kilobyte and says no more."""
    count = QUICK_TRIES if scale is QUICK else IDLE
    sessions: list[Plain] = []
    with peer.afresh() as fresh:
        try:
            sessions += [_idle(fresh) for _ in range(QUICK_TRIES)]  # what only the first ones cost
            time.sleep(SETTLE_S)
            before = processes.memory(fresh.processes())
            sessions += [_idle(fresh) for _ in range(count)]
            time.sleep(SETTLE_S)
            after = processes.memory(fresh.processes())
        finally:
            for session in sessions:
                session.close()
    return {"rss": (after.rss - before.rss) / count, "pss": (after.pss - before.pss) / count}


def measure_crowd(peer: SconPeer, scale: Scale) -> Sample:
    """Many sessions that say nothing, a part of them at work for a while; is any lost?"""
    wanted, busy = (QUICK_CROWD, QUICK_CROWD // 10) if scale is QUICK else (CROWD, BUSY)
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHERS) // PROXIED_FILES
    per_process = most if peer.processes() else PROXIED_FILES * most
    wanted = min(wanted, per_process * getattr(peer, "workers", 1), PROXIED_FILES * most)
    for session in [_idle(peer) for _ in range(QUICK_TRIES)]:
        session.close()
    time.sleep(REUSE_S + SETTLE_S)
    files = _descriptors(peer)
    sessions: list[Plain] = []
    try:
        begun = time.perf_counter()
        with suppress(BenchError):  # that it took no more is the figure
            sessions.extend(_idle(peer) for _ in range(wanted))
        count = len(sessions)
        figures = {"open": count, "begun": count / (time.perf_counter() - begun)}
        at_work = sessions[:: max(1, count // busy)][:busy]
        took, seconds, lost = _work(at_work, BUSY_S / (10 if scale is QUICK else 1))
        if took:
            figures |= {"rate": len(took) / seconds, **_quantiles(took)}
        if not lost:
            *_, lost = _work(sessions, 0)
    finally:
        for session in sessions:
            session.close()
    deadline = time.monotonic() + CLEAN_S
    while (left := _descriptors(peer) - files) > 0 and time.monotonic() < deadline:
        time.sleep(SETTLE_S)
    return {**figures, "lost": lost, "left": max(0, left)}


def _work(sessions: list[Plain], seconds: float) -> tuple[list[float], float, int]:
    """A byte there and back in all of them at once, again and again, and once at least.

    Returns how long each echo took, how long it all did, and how many sessions have not answered.
    """
    by_number = {session.sock.fileno(): session for session in sessions}
    said: dict[int, float] = {}
    took: list[float] = []
    with select.epoll() as poll:
        begun = now = time.perf_counter()
        for number, session in by_number.items():
            poll.register(number, select.EPOLLIN)
            said[number] = time.perf_counter()
            session.say(b"x")
        while said and (ready := poll.poll(HANGS_S)):
            for number, _ in ready:
                session = by_number[number]
                try:
                    right = session.hear(1) == b"x"
                except (BenchError, OSError):
                    right = False
                if not right:
                    poll.unregister(number)  # it stays among those that were not answered
                    continue
                now = time.perf_counter()
                took.append(now - said.pop(number))
                if now - begun < seconds:
                    said[number] = now
                    session.say(b"x")
    return took, now - begun, len(said)


def _descriptors(peer: SconPeer) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in peer.processes())


def _stream(peer: SconPeer, direction: bytes, streams: int, size: int) -> float:
    """Seconds from the first byte wanted to the last that arrived."""
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe() for _ in range(streams)]
    workers = [
        fork.Process(target=_one_stream, args=(peer, direction, size, far), daemon=True)
        for _, far in pipes
    ]
    try:
        for worker in workers:
            worker.start()
        for near, _ in pipes:
            _told(near)
        begun = time.perf_counter()
        for near, _ in pipes:
            near.send("go")
        for near, _ in pipes:
            _told(near)
        return time.perf_counter() - begun
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _told(near: Connection) -> None:
    words = near.recv() if near.poll(120) else "it takes too long"
    if words:
        raise BenchError(f"a stream broke: {words}")


def _one_stream(peer: SconPeer, direction: bytes, size: int, far: Connection) -> None:
    try:
        with _opened(peer, "bulk") as session:
            far.send("")
            far.recv()
            session.order(direction, size)
            session.move(direction, size)
            far.send("")
            far.recv()  # until the others are there, too
    except (BenchError, OSError) as error:
        far.send(str(error) or type(error).__name__)


@contextmanager
def _opened(peer: SconPeer, backend: str) -> Iterator[Plain]:
    try:
        session = peer.open(backend)
    except (OSError, TrioetError) as error:
        raise BenchError(f"no session: {error}") from error
    try:
        yield session
    except OSError as error:
        raise BenchError(f"a session broke: {error}") from error
    finally:
        session.close()


def _idle(peer: SconPeer) -> Plain:
    try:
        session = peer.open("echo")
        session.echo(bytes(IDLE_BYTES))
    except (OSError, TrioetError) as error:
        raise BenchError(f"no session: {error}") from error
    return session


def _spread(once: Callable[[], float], count: int) -> Sample:
    for _ in range(int(count * WARM_UP)):
        once()
    return _quantiles([once() for _ in range(count)])


def _quantiles(times: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}


def _latency(
    name: str,
    label: str,
    goal: str,
    measure: Callable[[SconPeer, Scale], Sample],
    suits: Callable[[SconPeer], bool] = lambda peer: True,
) -> Row[SconPeer]:
    line = Line(f"{label}, p50 / p99, ms", ("p50", "p99"), goal, factor=1000, digits=3)
    return Row(name=name, lines=(line,), measure=measure, suits=suits)


def _resumes(peer: SconPeer) -> bool:
    return peer.resumes


def _streams(name: str, streams: int, what: str) -> Row[SconPeer]:
    return Row(
        name=name,
        lines=(
            Line(f"{what} down, MB/s", ("down_rate",), GOAL_STREAM, factor=1e-6, digits=0),
            Line("up, MB/s", ("up_rate",), GOAL_STREAM, factor=1e-6, digits=0),
            Line(
                "CPU seconds of the server per GB, down / up",
                ("down_cpu", "up_cpu"),
                "",
                factor=1e9,
            ),
        ),
        measure=partial(measure_streams, streams),
    )


SCON_ROWS: Final = (
    _latency("scon-echo", "a byte there and back", GOAL_ECHO, measure_echo),
    _latency("scon-begin", "connect to first byte back", "", measure_beginning),
    _latency("scon-resume", "connect again to replayed byte", "< 1 ms", measure_resume, _resumes),
    _streams("scon-stream", 1, "1 GB in one session"),
    _streams("scon-streams", 16, "1 GB in sixteen sessions at once"),
    Row(
        name="scon-memory",
        lines=(
            Line(
                f"server memory of each of {IDLE} idle sessions, KiB RSS / PSS",
                ("rss", "pss"),
                "< 40",
                factor=1 / 1024,
                digits=1,
            ),
        ),
        measure=measure_memory,
        suits=lambda peer: bool(peer.processes()),
    ),
    Row(
        name="scon-crowd",
        lines=(
            Line("sessions at once / lost / descriptors left", ("open", "lost", "left"),
                 f"{CROWD} / 0 / 0", digits=0),
            Line("begun per second", ("begun",), "", digits=0),
            Line(f"echoes per second of {BUSY} busy ones among them", ("rate",), "", digits=0),
            Line("their echo, p50 / p99, ms", ("p50", "p99"), "", factor=1000, digits=1),
        ),
        measure=measure_crowd,
        rounds=1,
    ),
)  # fmt: skip
