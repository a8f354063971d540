"""`trioet check`: what this machine is like for trioet, in JSON, for `trioet doctor`.

Standard library only, as `trioet terminal`: a far side is asked the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from trioet.bootstrap.credentials import DEFAULT_TERM
from trioet.doctor import stand_in
from trioet.doctor.facts import gather
from trioet.doctor.reach import look

PREFIX = "TRIOET-CHECK:"

OWN_PORTS = range(60022, 60122)
"""Where a keeper listens by itself (trioet.server.keeper.OWN_PORTS)."""


def main(argv: list[str]) -> int:
    """Print the facts; stay as a stand-in for the keeper's port if asked to."""
    parser = argparse.ArgumentParser(
        prog="trioet check",
        description="Say in one line of JSON what this machine is like for trioet: version, "
        "runtime directory, keeper, router, terminfo. `trioet doctor` asks for it by ssh; it "
        "changes nothing.",
    )
    parser.add_argument(
        "--term",
        metavar="TERM",
        default=os.environ.get("TERM") or DEFAULT_TERM,
        help="the terminal to look for (default: $TERM)",
    )
    parser.add_argument(
        "--serverfifo", metavar="PATH", default="", help="socket of the server to look for"
    )
    parser.add_argument(
        "--stand-in",
        metavar="N[-M]",
        nargs="?",
        const=OWN_PORTS,
        type=_ports,
        help="if no server runs, listen in the keeper's place, until the end of stdin",
    )
    parser.add_argument(
        "--reach",
        metavar="HOST:PORT",
        type=_place,
        help="look whether this port is reached from here, as a jumphost must",
    )
    # A newer doctor's options are no reason to fail.
    options, _ = parser.parse_known_args(argv)
    facts = gather(options.term, options.serverfifo)
    if options.reach is not None:
        facts["reach"] = look(*options.reach)
    listener = None
    keeper_ports = facts["keeper"].get("ports")
    if options.stand_in and facts["router"]["state"] == "none" and not keeper_ports:
        listener = stand_in.listen(options.stand_in)
        facts["stand_in"] = listener.getsockname()[1] if listener else None
    print(PREFIX + json.dumps(facts), flush=True)
    if listener is not None:
        stand_in.serve(listener, sys.stdin.fileno())
    return 0


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: not a host and a port")
    return host, int(port)


def _ports(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        ports = range(int(first), int(last or first) + 1)
    except ValueError:
        ports = range(0)
    if not (ports and 0 < ports[0] <= ports[-1] < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: not a port, nor a range N-M")
    return ports
