"""Rounds: each peer in turn, again and again, so that a noisy minute hits all alike."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import tunnels
from bench.peers import PEERS, Peer, missing_programs
from bench.place import make_privilege_separation, private_place, quiet_home
from bench.rows import Contestant, PeerT, Row, Sample, Scale
from bench.scon_backend import backends
from bench.scon_peers import MANY, OTHERS, SCON_PEERS, SconPeer, missing_scon_programs
from bench.session import connected
from bench.sshd import make_keys
from bench.table import Results
from bench.terminal import BenchError
from bench.web_peers import WEB_PEERS, WebPeer, missing_web_programs
from trioet.errors import TrioetError


def start_peers(wanted: Sequence[str], stack: ExitStack) -> tuple[list[Peer], list[str]]:
    """Start the servers of the peers there are; ``stack`` ends them.

    Returns them, in the table's order, and what is to be said of those left out.
    """
    place = stack.enter_context(private_place())
    make_privilege_separation()
    make_keys(place)
    peers: list[Peer] = []
    left_out: list[str] = []
    for kind in PEERS:
        if wanted and kind.name not in wanted:
            continue
        if missing := missing_programs(kind):
            left_out.append(f"{kind.title} is left out: {', '.join(missing)} not on PATH")
            continue
        peer = kind(place)
        stack.callback(peer.stop)
        try:
            peer.start()
            with connected(peer):  # also warms the caches
                pass
        except BenchError as error:
            left_out.append(f"{kind.title} is left out: {error}")
        else:
            peers.append(peer)
    return peers, left_out


def start_scon_peers(wanted: Sequence[str], stack: ExitStack) -> tuple[list[SconPeer], list[str]]:
    """The same for the peers of the rows of stable connections, and for what is behind them."""
    tunnels.allow_many_files(MANY + OTHERS)
    place = stack.enter_context(private_place())
    ports = stack.enter_context(backends())
    peers: list[SconPeer] = []
    left_out: list[str] = []
    for kind in SCON_PEERS:
        if wanted and kind.name not in wanted:
            continue
        if missing := missing_scon_programs(kind):
            left_out.append(f"{kind.title} is left out: {', '.join(missing)} not on PATH")
            continue
        peer = kind(place, ports)
        stack.callback(peer.stop)
        try:
            peer.start()
            peer.open("echo").close()
        except (BenchError, OSError, TrioetError) as error:
            left_out.append(f"{kind.title} is left out: {error}")
        else:
            peers.append(peer)
    return peers, left_out


def start_web_peers(wanted: Sequence[str], stack: ExitStack) -> tuple[list[WebPeer], list[str]]:
    """The same for the rows of terminals in the browser; each is only seen to work."""
    place = stack.enter_context(private_place())
    peers: list[WebPeer] = []
    left_out: list[str] = []
    for kind in WEB_PEERS:
        if wanted and kind.name not in wanted:
            continue
        if missing := missing_web_programs(kind):
            left_out.append(f"{kind.title} is left out: {', '.join(missing)} not on PATH")
            continue
        peer = kind(place)
        try:
            with peer.serving(("sh", "-c", "echo")) as serving, serving.viewer() as viewer:
                viewer.read()
        except BenchError as error:
            left_out.append(f"{kind.title} is left out: {error}")
        else:
            peers.append(peer)
    return peers, left_out


def measure(row: Row[PeerT], peers: Sequence[PeerT], scale: Scale, rounds: int) -> Results:
    """Measure one row; a peer that fails in one round has another chance in the next."""
    results = Results(row)
    suited = [
        peer for peer in peers if row.suits(peer) and (not peer.only or row.name in peer.only)
    ]
    begun = time.monotonic()
    for number in range(rounds):
        for peer in suited:
            sample: Sample | None = None
            _say(f"{row.name} {number + 1}/{rounds}: {peer.title}")
            try:
                sample = row.measure(peer, scale)
            except BenchError as error:
                results.troubles.setdefault(peer.name, []).append(str(error))
            results.samples.setdefault(peer.name, []).append(sample)
    _say(f"{row.name}: {time.monotonic() - begun:.0f} s\n")
    return results


def machine_facts(peers: Sequence[Contestant]) -> list[str]:
    """What the figures depend on."""
    versions = "; ".join(peer.version() for peer in peers)
    home = "covered up" if quiet_home() else "the user's own, which counts in connect"
    return [
        f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}; {versions}",
        f"everything on loopback; shell start-up files {home}",
    ]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.machine()


def _say(text: str) -> None:
    """Progress, on stderr: the table alone is stdout."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    elif text.endswith("\n"):
        sys.stderr.write(text)
    sys.stderr.flush()
