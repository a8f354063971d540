"""`python -m bench`: trioet beside Eternal Terminal, ssh and mosh; goscon; gotty and ttyd."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from bench import bulk, connect, echo, idle, interrupt, memory, outage, processes, tunnels
from bench.peers import PEERS, Peer
from bench.place import enter_quiet_home
from bench.rows import FULL, QUICK, PeerT, Row
from bench.run import machine_facts, measure, start_peers, start_scon_peers, start_web_peers
from bench.scon import SCON_ROWS
from bench.scon_peers import SCON_PEERS
from bench.sshd import find_sshd
from bench.table import Results, as_json, footnotes, markdown
from bench.web import WEB_ROWS
from bench.web_peers import WEB_PEERS

ROWS: Final[tuple[Row[Peer], ...]] = (
    echo.ROW, bulk.ROW, interrupt.ROW, idle.ROW, memory.ROW, connect.ROW, connect.FAR_ROW,
    outage.ROW, outage.RESET,
)  # fmt: skip


def main() -> int:
    """Measure, print the table on stdout; return the exit status."""
    options = build_parser().parse_args()
    if _terminal_rows(options) and find_sshd() is None:
        print("bench: no sshd here; install the OpenSSH server", file=sys.stderr)
        return 1
    enter_quiet_home()
    processes.adopt_orphans()
    tunnels.allow_many_files()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        tables = [*_run(options)]
    except KeyboardInterrupt:
        return 130
    finally:
        processes.end_all_descendants()
    for table in tables:
        if table.titles:
            print(markdown(table.results, table.titles) + "\n")
        print(*(f"* {note}" for note in table.notes), "", sep="\n")
    if options.json:
        notes = [note for table in tables for note in table.notes]
        results = [result for table in tables for result in table.results]
        report = {"notes": notes, "rows": as_json(results)}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if any(table.titles for table in tables) else 1


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    rows = [row.name for row in (*ROWS, *tunnels.rows())]
    rows += [row.name for row in SCON_ROWS] + [row.name for row in WEB_ROWS]
    peers = [peer.name for peer in PEERS] + [peer.name for peer in SCON_PEERS]
    peers += [peer.name for peer in WEB_PEERS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", type=_some_of(rows), default=[], metavar="ROW,…", help=f"of {', '.join(rows)}"
    )
    parser.add_argument(
        "--peers", type=_some_of(peers), default=[], metavar="PEER,…", help=f"of {', '.join(peers)}"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="rounds of every row")
    parser.add_argument(
        "--stream-mb", type=int, metavar="MB", help="what tunnels carry at a time, instead of 500"
    )
    parser.add_argument("--quick", action="store_true", help="only see whether everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured of peers that can be compared."""

    titles: dict[str, str]
    results: list[Results]
    notes: list[str]


def _run(options: argparse.Namespace) -> Iterator[Table]:
    terminal, scon = _terminal_rows(options), _chosen(SCON_ROWS, options)
    web = _chosen(WEB_ROWS, options)
    if terminal:
        yield _measure_all(options, terminal, start_peers)
    if scon:
        yield _measure_all(options, scon, start_scon_peers)
    if web:
        yield _measure_all(options, web, start_web_peers)


def _measure_all(
    options: argparse.Namespace,
    rows: Sequence[Row[PeerT]],
    start: Callable[[Sequence[str], ExitStack], tuple[list[PeerT], list[str]]],
) -> Table:
    begun = time.monotonic()
    with ExitStack() as stack:
        peers, left_out = start(options.peers, stack)
        results = [
            measure(row, peers, QUICK if options.quick else FULL, _rounds(options, row))
            for row in rows
        ]
        notes = [*machine_facts(peers), f"took {time.monotonic() - begun:.0f} s", *left_out]
    notes += footnotes(results)
    if options.quick:
        notes.append("a quick run: it shows that things work, the figures mean little")
    return Table({peer.name: peer.title for peer in peers}, results, notes)


def _terminal_rows(options: argparse.Namespace) -> list[Row[Peer]]:
    streamed = options.stream_mb and options.stream_mb * 1_000_000
    return _chosen((*ROWS, *tunnels.rows(streamed)), options)


def _chosen(rows: Sequence[Row[PeerT]], options: argparse.Namespace) -> list[Row[PeerT]]:
    return [row for row in rows if not options.only or row.name in options.only]


def _rounds(options: argparse.Namespace, row: Row[PeerT]) -> int:
    rounds: int = options.runs or (1 if options.quick else row.rounds)
    return rounds


def _some_of(names: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
        return chosen

    return parse


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
