"""`trioet demo`: a whole session on this machine, over a link that is cut all the time."""

from __future__ import annotations

import argparse
import sys
from functools import partial

import trio

from trioet.cli.ending import until_ended
from trioet.demo.selftest import selftest
from trioet.demo.show import show
from trioet.errors import UsageError


def main(argv: list[str]) -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="trioet demo",
        description="See it work, without root, sshd or any set-up: your shell, over an "
        "embedded ssh server, a router, a keeper, and a connection that is cut every few "
        "seconds. Type as if nothing had happened; `exit` or Enter ~. ends it.",
    )
    parser.add_argument(
        "--cut-every", metavar="S", type=float, default=5.0, help="seconds between cuts (5)"
    )
    parser.add_argument(
        "--selftest",
        action="store_true",
        help="unattended: send data both ways, cut 20 times, compare, print the figures; "
        "exit status 0 if every byte arrived once and in order",
    )
    options = parser.parse_args(argv)
    if not options.cut_every > 0:
        raise UsageError(f"--cut-every {options.cut_every:g}: a number of seconds above 0")
    if options.selftest:
        return trio.run(until_ended, selftest)
    if not sys.stdin.isatty():
        raise UsageError("the demo needs a terminal; `trioet demo --selftest` does not")
    return trio.run(until_ended, partial(show, options.cut_every))
