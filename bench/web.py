"""Rows: what a terminal in the browser costs, with `trioet web`, gotty and ttyd, and without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from bench import processes
from bench.rows import QUICK, Line, Row, Sample, Scale
from bench.terminal import BenchError
from bench.web_client import Viewer
from bench.web_peers import WebPeer

READY: Final = b"=ready="
ECHO: Final = ("sh", "-c", "stty raw -echo; printf =ready=; exec cat")
"""A program that sends every byte back as it comes."""

APART_S: Final = 0.03
WARM_UP: Final = 50

PART: Final = 10_000_000
"""Bytes of the file, which is shown as often as it takes. A line is 80 bytes."""

SHELL: Final = ("env", "PS1=~~> ", "ENV=", "sh", "-i")
PROMPT: Final = b"~~> "
STEP_S: Final = 0.0005
"""What a slow reader does with each message."""
RATE: Final = 5_000_000
"""Bytes a second that a terminal in a browser displays, at least (xterm.js: 5 to 35 MB)."""
FLOOD_S: Final = 30.0
"""Patience with the prompt."""

FIRST: Final = 10
IDLE: Final = 100
QUICK_IDLE: Final = 10
SETTLE_S: Final = 2.0

BEGINNINGS: Final = 60
QUICK_BEGINNINGS: Final = 5

TAILS: Final = (2_000, 60_000, 300_000)
"""Bytes that a process writes before it ends."""
TAIL_RUNS: Final = 40
QUICK_TAIL_RUNS: Final = 2


def measure_echo(peer: WebPeer, scale: Scale) -> Sample:
    """A byte there and back, at a fixed pace."""
    with _ready(peer, ECHO) as viewer:
        return _quantiles(_echoes(viewer, scale.keys, APART_S))


def measure_fast_echo(peer: WebPeer, scale: Scale) -> Sample:
    """A byte there and back, each as soon as the one before is back."""
    with _ready(peer, ECHO) as viewer:
        return _quantiles(_echoes(viewer, scale.keys_back_to_back, 0))


def _echoes(viewer: Viewer, count: int, apart_s: float) -> list[float]:
    for _ in range(WARM_UP):
        _echo(viewer)
    times = []
    due = time.perf_counter()
    for _ in range(count):
        due = max(due + apart_s, time.perf_counter())
        time.sleep(max(0, due - time.perf_counter()))
        times.append(_echo(viewer))
    return times


def _echo(viewer: Viewer) -> float:
    begun = time.perf_counter()
    viewer.type(b"x")
    while not (came := b"".join(_some(viewer))):
        pass
    if came != b"x":
        raise BenchError(f"an echo came back as {came!r}")
    return time.perf_counter() - begun


def measure_output(peer: WebPeer, scale: Scale) -> Sample:
    """As fast as the driver reads, from a key to the last byte."""
    text = _text(peer.place, PART)
    times = scale.output_bytes // PART
    # It has something left to say at the end: what ends loses its last output with some.
    script = f"stty -echo; printf =ready=; read x; cat {'$0 ' * times}; exec cat"
    total = times * len(_shown(text))
    with peer.serving(("sh", "-c", script, str(text))) as serving, serving.viewer() as viewer:
        _until(viewer, READY)
        involved = serving.processes()
        before = processes.cpu_seconds(involved)
        begun = time.perf_counter()
        viewer.type(b"\r")
        left = total
        while left > 0:
            left -= sum(map(len, _some(viewer)))
        seconds = time.perf_counter() - begun
        cpu = processes.cpu_seconds(involved) - before
    figures = {"rate": total / seconds}
    return figures | {"cpu_per_byte": cpu / total} if involved else figures


def measure_flood(peer: WebPeer, scale: Scale) -> Sample:
    """How soon Ctrl-C ends a flood, with a reader of so many messages a second, or bytes."""
    return {
        "messages": _interrupt(peer, scale, lambda message: STEP_S),
        "bytes": _interrupt(peer, scale, lambda message: len(message) / RATE),
    }


def _interrupt(peer: WebPeer, scale: Scale, cost_s: Callable[[bytes], float]) -> float:
    with peer.serving(SHELL) as serving, serving.viewer() as viewer:
        _until(viewer, PROMPT)
        viewer.type(b"yes\r")
        _display(viewer, scale.flood_s, None, cost_s)
        pressed = time.perf_counter()
        viewer.type(b"\x03")
        return _display(viewer, FLOOD_S, PROMPT, cost_s) - pressed


def _display(
    viewer: Viewer, seconds: float, until: bytes | None, cost_s: Callable[[bytes], float]
) -> float:
    """Read for ``seconds``, or until something is displayed; return when."""
    tail = b""
    due = begun = time.perf_counter()
    while due < begun + seconds:
        for message in _some(viewer):
            # What was not read in time is not made up for: the terminal was idle then.
            due = max(due, time.perf_counter() - 0.01) + cost_s(message)
            time.sleep(max(0, due - time.perf_counter()))
            tail = (tail + message)[-100:]
            if until and until in tail:
                return time.perf_counter()
    if until:
        raise BenchError(f"no prompt {seconds:g} s after Ctrl-C; last: {tail!r}")
    return due


def measure_memory(peer: WebPeer, scale: Scale) -> Sample:
    """What serving processes grow by with each viewer who has seen something, and sits there."""
    count = QUICK_IDLE if scale is QUICK else IDLE
    with peer.serving(ECHO) as serving, ExitStack() as viewers:
        for _ in range(FIRST):
            _until(viewers.enter_context(serving.viewer()), READY)
        time.sleep(SETTLE_S)
        before = processes.memory(serving.processes())
        for _ in range(count):
            _until(viewers.enter_context(serving.viewer()), READY)
        time.sleep(SETTLE_S)
        after = processes.memory(serving.processes())
    return {
        "rss": (after.rss - before.rss) / count,
        "pss": (after.pss - before.pss) / count,
        "all": after.rss,
    }


def measure_first(peer: WebPeer, scale: Scale) -> Sample:
    """From the first connection to the first output, of a server that has been visited before."""

    def begin() -> float:
        begun = time.perf_counter()
        with serving.viewer() as viewer:
            _until(viewer, READY)
            return time.perf_counter() - begun

    with peer.serving(ECHO) as serving:
        begin()
        return _quantiles(
            [begin() for _ in range(QUICK_BEGINNINGS if scale is QUICK else BEGINNINGS)]
        )


def measure_tail(peer: WebPeer, scale: Scale) -> Sample:
    """Is the last that a process wrote before its end delivered?"""
    runs = QUICK_TAIL_RUNS if scale is QUICK else TAIL_RUNS
    cut, most = 0, 0
    for size in TAILS:
        text = _text(peer.place, size)
        wanted = _shown(text)
        with peer.serving(("cat", str(text))) as serving:
            for _ in range(runs):
                with serving.viewer() as viewer:
                    shown = b"".join(chain.from_iterable(iter(viewer.read, [])))
                if not wanted.startswith(shown):
                    raise BenchError("something else is shown than was written")
                lost = len(wanted) - len(shown)
                cut += lost > 0
                most = max(most, lost)
    return {"cut": cut, "most": most}


@contextmanager
def _ready(peer: WebPeer, command: tuple[str, ...]) -> Iterator[Viewer]:
    with peer.serving(command) as serving, serving.viewer() as viewer:
        _until(viewer, READY)
        yield viewer


def _some(viewer: Viewer) -> list[bytes]:
    """The next messages.

    Raises:
      BenchError: there are no more.
    """
    if messages := viewer.read():
        return messages
    raise BenchError("the program ended early")


def _until(viewer: Viewer, wanted: bytes) -> None:
    shown = b""
    while wanted not in shown:
        shown += b"".join(_some(viewer))


def _text(place: Path, size: int) -> Path:
    path = place / f"text-{size}"
    if not path.exists():
        line = bytes(range(48, 123)) + b"    \n"
        path.write_bytes((line * (size // len(line) + 1))[:size])
    return path


def _shown(text: Path) -> bytes:
    """What a terminal makes of it."""
    return text.read_bytes().replace(b"\n", b"\r\n")


def _quantiles(times: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}


def _times(
    name: str, label: str, goal: str, measure: Callable[[WebPeer, Scale], Sample]
) -> Row[WebPeer]:
    line = Line(f"{label}, p50 / p99, ms", ("p50", "p99"), goal, factor=1000, digits=3)
    return Row(name=name, lines=(line,), measure=measure)


WEB_ROWS: Final = (
    _times("web-echo", "echo of a key, 30 ms apart", "≤ gotty, ttyd", measure_echo),
    _times("web-echo-fast", "the same back to back", "< 0.25", measure_fast_echo),
    Row(
        name="web-output",
        lines=(
            Line("200 MB of output, MB/s", ("rate",), "> 50", factor=1e-6, digits=1),
            Line("CPU seconds of the server per GB", ("cpu_per_byte",), "", factor=1e9, digits=1),
        ),
        measure=measure_output,
    ),
    Row(
        name="web-flood",
        lines=(
            Line("Ctrl-C in `yes` to prompt, 0.5 ms a message, s", ("messages",), "< 0.2"),
            Line("the same, reading 5 MB/s, s", ("bytes",), ""),
        ),
        measure=measure_flood,
        rounds=5,
    ),
    Row(
        name="web-memory",
        lines=(
            Line(
                f"server memory of each of {IDLE} idle viewers, KiB RSS / PSS",
                ("rss", "pss"), "< 60", factor=1 / 1024, digits=1,
            ),
            Line("with all of them, MiB RSS", ("all",), "", factor=1 / 1024**2, digits=1),
        ),
        measure=measure_memory,
    ),
    _times("web-first", "connect to first output", "", measure_first),
    Row(
        name="web-tail",
        lines=(
            Line(
                f"last output lost, of {TAIL_RUNS * len(TAILS)} processes / bytes at most",
                ("cut", "most"), "0", digits=0,
            ),
        ),
        measure=measure_tail,
        rounds=1,
    ),
)  # fmt: skip
