"""The jumphosts on the command line of `trioet connect`: ssh's -J, and ET's --jumphost."""

from __future__ import annotations

import argparse

from trioet.bootstrap.jump import Jump, parse_jumps
from trioet.bootstrap.remote_command import relay_command
from trioet.errors import UsageError

AUTO = "auto"
"""For --jump: go where ssh's ProxyJump goes."""


def add_jump_arguments(group: argparse._ArgumentGroup) -> None:
    """Define every option about jumphosts."""
    group.add_argument(
        *("-J", "--jump", "--jumphost"),
        dest="jump",
        action="append",
        metavar="A,B,…",
        help="connect through these hosts, each [user@]host[:sshport], which read nothing of "
        f"the session; `{AUTO}`: through those of ssh's ProxyJump",
    )
    group.add_argument(
        "--jport",
        metavar="N",
        type=int,
        help="port of the trioet server on the jumphost, if it is one (default: what it says)",
    )
    group.add_argument(
        "--jserverfifo",
        metavar="P",
        help="socket of the server on the jumphost, if it is one (default: the usual one)",
    )


def read_jumps(given: argparse.Namespace) -> tuple[Jump, ...] | None:
    """The jumphosts that the command line asks for; None for those of ssh's ProxyJump.

    Raises:
      UsageError: they make no sense.
    """
    if given.jump and len(given.jump) > 1:
        raise UsageError(f"--jump is given twice; all hosts in one: --jump {','.join(given.jump)}")
    written: str | None = given.jump[0] if given.jump else None
    extra = given.jport is not None or given.jserverfifo is not None
    if written == AUTO and not extra:
        return None
    jumps = parse_jumps(written) if written not in (None, AUTO) else ()
    if extra and len(jumps) != 1:
        raise UsageError("--jport and --jserverfifo are about one jumphost: --jump HOST")
    if given.jport is not None and not 0 < given.jport < 65536:
        raise UsageError(f"--jport {given.jport}: ports go from 1 to 65535")
    if extra:
        jumps = (jumps[0]._replace(port=given.jport, server_fifo=given.jserverfifo),)
        relay_command(server_fifo=given.jserverfifo)  # raises what is wrong with the path
    return jumps
