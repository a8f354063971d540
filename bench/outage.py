"""How soon a session goes on after the network was lost."""

from __future__ import annotations

import re
import time
from typing import Final

from bench.peers import Peer
from bench.proxy import Proxy
from bench.rows import Line, Row, Sample, Scale
from bench.session import echo_time, open_session, run_raw_cat
from bench.terminal import BenchError, Terminal

TICKER: Final = b'i=0; while :; do i=$((i+1)); printf "<$i>"; sleep 0.1; done\r'
TICK: Final = re.compile(rb"<([0-9]+)>")
KEY: Final = "§".encode()
"""Not in any text that a client shows while it is offline."""

BEFORE_S: Final = 3.0
PATIENCE_S: Final = 45.0
BETWEEN_RESETS_S: Final = 1.0


def measure_blackout(peer: Peer, scale: Scale) -> Sample:
    """One blackout for two sessions: one has output waiting, one is idle until a key."""
    with (
        Proxy(peer.server_port) as proxy,
        open_session(peer, proxy.port) as busy,
        open_session(peer, proxy.port) as quiet,
    ):
        run_raw_cat(quiet)
        busy.write(TICKER)
        _last_tick(busy, BEFORE_S)
        quiet.settle(0.1)
        proxy.black_out()
        last = _last_tick(busy, scale.blackout_s)
        quiet.settle(0.05)
        proxy.resume()
        back = time.perf_counter()
        quiet.write(KEY)
        return _first_signs(busy, last, quiet, back)


def _first_signs(busy: Terminal, last: int, quiet: Terminal, back: float) -> dict[str, float]:
    signs: dict[str, float] = {}
    seen = {"pending": b"", "key": b""}
    while len(signs) < 2:
        for name, terminal in (("pending", busy), ("key", quiet)):
            seen[name] = (seen[name] + terminal.read(0.002))[-4096:]
            now = time.perf_counter()
            came = KEY in seen[name] if name == "key" else _newest(seen[name]) > last
            if came and name not in signs:
                signs[name] = now - back
        if now > back + PATIENCE_S:
            missing = " and ".join({"pending", "key"} - signs.keys())
            raise BenchError(f"{missing}: nothing {PATIENCE_S:g} s after the blackout")
    return signs


def _last_tick(terminal: Terminal, seconds: float) -> int:
    """Read for ``seconds``; return the number of the last tick there was."""
    newest = 0
    seen = b""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        seen = (seen + terminal.read(min(left, 0.5)))[-4096:]
        newest = max(newest, _newest(seen))
    return newest


def _newest(text: bytes) -> int:
    return max((int(number) for number in TICK.findall(text)), default=0)


def measure_reset(peer: Peer, scale: Scale) -> Sample:
    with Proxy(peer.server_port) as proxy, open_session(peer, proxy.port) as terminal:
        run_raw_cat(terminal)
        times = []
        for _ in range(scale.resets):
            terminal.settle(BETWEEN_RESETS_S)
            proxy.reset()
            times.append(echo_time(terminal, KEY, PATIENCE_S))
    return {"seconds": sorted(times)[len(times) // 2], "worst": max(times)}


ROW: Final = Row(
    name="blackout",
    lines=(
        Line(
            "network black-holed for 12 s, then back: to first echo, s "
            "(output pending / idle, then a key)",
            ("pending", "key"),
            "< 2 RTT + 0.1",
            digits=3,
        ),
    ),
    measure=measure_blackout,
    suits=lambda peer: peer.reconnects,
)
RESET: Final = Row(
    name="reset",
    lines=(
        Line(
            "reset connection to first echo, median / worst of 5, s",
            ("seconds", "worst"),
            "< 2 RTT + 0.05",
            digits=3,
        ),
    ),
    measure=measure_reset,
    suits=lambda peer: peer.reconnects,
)
