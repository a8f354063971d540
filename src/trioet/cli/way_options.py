"""How `trioet connect` may reach the server: the options, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import Enum

from trioet.bootstrap.jump import Jump
from trioet.errors import UsageError


class Via(Enum):
    """Which ways to the server may be taken."""

    AUTO = "auto"
    DIRECT = "direct"
    SSH = "ssh"


def add_way_arguments(group: argparse._ArgumentGroup, name: str = "--via") -> None:
    """Define --via, by another ``name`` where that means something else."""
    group.add_argument(
        name,
        dest="via",
        type=_via,
        default=Via.AUTO,
        metavar="{auto,direct,ssh}",
        help="reach that port directly, or through ssh, which needs no port but sshd's; "
        "default: directly, and through ssh while that does not work",
    )


def add_srv_argument(group: argparse._ArgumentGroup) -> None:
    """Define --srv."""
    group.add_argument(
        "--srv",
        action="store_true",
        help="look the servers up in DNS, as SRV records `_trioet._tcp.HOST`; where there are "
        "none, the same as without",
    )


def read_srv(given: argparse.Namespace, jumps: Sequence[Jump] | None) -> bool:
    """Whether servers are to be looked up.

    Raises:
      UsageError: they are not to be reached from here.
    """
    if given.srv and given.via is Via.SSH:
        raise UsageError("--srv finds ports to reach directly; --via ssh needs none")
    if given.srv and jumps != ():
        raise UsageError("--srv finds ports to reach from here; --jump goes through other hosts")
    return bool(given.srv)


def _via(text: str) -> Via:
    try:
        return Via(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: there are auto, direct and ssh") from None
