"""Options of commands that only log in by ssh: ssh's own, by its names."""

from __future__ import annotations

import argparse

from trioet.bootstrap.host import parse_host
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import UsageError


def add_ssh_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the host, and what ssh is to be told."""
    parser.add_argument("host", metavar="[user@]host", help="as ssh knows it")
    group = parser.add_argument_group("ssh, which gets there")
    group.add_argument("-l", dest="user", metavar="U", help="log in as U")
    group.add_argument("-F", dest="config_file", metavar="FILE", help="ssh's configuration file")
    group.add_argument(
        *("-i",),
        action="append",
        dest="identity_files",
        metavar="FILE",
        default=[],
        help="a private key; may be repeated",
    )
    group.add_argument(
        *("-o",),
        action="append",
        dest="ssh_options",
        metavar="OPTION",
        default=[],
        help="a line of ssh's configuration, as Word=value; may be repeated",
    )
    group.add_argument(
        "-v", action="count", dest="verbose", default=0, help="show all that is said there"
    )


def read_target(given: argparse.Namespace) -> SshTarget:
    """Whom ssh is to call.

    Raises:
      UsageError: the host makes no sense.
    """
    host = parse_host(given.host)
    if host.port is not None:
        raise UsageError(f"{given.host}: the port of sshd is ssh's business: -o Port={host.port}")
    if host.user and given.user and host.user != given.user:
        raise UsageError(f"two users: {host.user} in the host, {given.user} by -l")
    return SshTarget(
        host.host,
        user=host.user or given.user,
        config_file=given.config_file,
        identity_files=tuple(given.identity_files),
        options=tuple(given.ssh_options),
        verbose=max(0, given.verbose - 1),
    )
