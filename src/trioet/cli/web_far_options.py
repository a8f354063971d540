"""The options of `trioet web` for sessions on another host, and for a key that nobody relays."""

from __future__ import annotations

import argparse

from trioet.bootstrap.host import parse_host
from trioet.bootstrap.jump import parse_jumps, ssh_jumps
from trioet.bootstrap.remote_command import guest_command
from trioet.cli.ssh_options import Once, add_login_arguments, ssh_target
from trioet.cli.way_options import Via, add_way_arguments
from trioet.errors import UsageError
from trioet.web.options import Far

ASKS_NOBODY = ("BatchMode=yes",)
"""For ssh, as nobody sits here who could answer."""


def add_far_arguments(parser: argparse.ArgumentParser) -> None:
    """Define --connect, and what ssh is to be told; --e2e."""
    group = parser.add_argument_group("another host")
    group.add_argument(
        "--connect",
        metavar="[user@]host",
        help="run COMMAND there, or the login shell; ssh gets there and must ask nothing",
    )
    add_login_arguments(group)
    group.add_argument(
        *("-J", "--jump"),
        action=Once,
        metavar="A,B,…",
        help="ssh goes through these hosts, each [user@]host[:sshport], and visitors with it",
    )
    add_way_arguments(group)
    group.add_argument("--terminal-path", metavar="PATH", help="of trioet there")
    parser.add_argument_group("end to end").add_argument(
        "--e2e",
        action="store_true",
        default=None,
        help="print a link with one session's key in its fragment, which never comes back here",
    )


def read_far(given: argparse.Namespace) -> Far | None:
    """The other host, if there is one. Takes what it reads out of ``given``.

    Raises:
      UsageError: it makes no sense, or is not called for.
    """
    taken = argparse.Namespace(verbose=0)
    for name in ("connect", "username", "config_file", "identity_files", "ssh_options", "via"):
        setattr(taken, name, vars(given).pop(name))
    taken.terminal_path = vars(given).pop("terminal_path")
    taken.jump = vars(given).pop("jump")
    if taken.connect is None:
        words = (taken.username, taken.config_file, taken.terminal_path, taken.jump)
        if any(words) or taken.identity_files or taken.ssh_options or taken.via is not Via.AUTO:
            raise UsageError("what ssh is told makes sense with --connect only")
        return None
    host = parse_host(taken.connect)
    if host.port is not None:
        raise UsageError(f"{taken.connect}: the port of sshd is ssh's business: -o Port=…")
    target = ssh_target(host, taken)
    if taken.jump:
        if taken.via is Via.DIRECT:
            raise UsageError("--via direct goes through no other hosts: leave out --jump")
        target = target._replace(jumps=ssh_jumps(parse_jumps(taken.jump)))
    if taken.terminal_path and taken.terminal_path.rpartition("/")[2] != "trioet":
        raise UsageError("--terminal-path: only a trioet opens sessions for visitors of the web")
    guest_command(terminal_path=taken.terminal_path)  # it can be said to a shell
    return Far(
        target._replace(options=(*ASKS_NOBODY, *target.options)),
        direct=taken.via is not Via.SSH and not taken.jump,
        by_ssh=taken.via is not Via.DIRECT,
        terminal_path=taken.terminal_path,
    )
