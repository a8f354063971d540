"""Options that ssh is told, by the names that it has for them itself."""

from __future__ import annotations

import argparse
from typing import TypeVar

from trioet.bootstrap.host import HostArgument, parse_host
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import UsageError

T = TypeVar("T", str, tuple[int, ...])


class Once(argparse.Action):
    """An option that takes a value, and that nobody can mean twice."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise UsageError(f"{'/'.join(self.option_strings)} is given twice")
        setattr(namespace, self.dest, values)


def add_login_arguments(group: argparse._ArgumentGroup) -> None:
    """Define as whom to log in, and what else ssh is to know."""
    group.add_argument(
        *("-u", "--username", "-l"),
        action=Once,
        metavar="U",
        help="log in as U",
    )
    group.add_argument(
        *("-F",),
        action=Once,
        dest="config_file",
        metavar="FILE",
        help="ssh's configuration file",
    )
    group.add_argument(
        *("-i",),
        action="append",
        dest="identity_files",
        metavar="FILE",
        default=[],
        help="a private key; may be repeated",
    )
    group.add_argument(
        *("-o", "--ssh-option"),
        action="append",
        dest="ssh_options",
        metavar="OPTION",
        default=[],
        help="a line of ssh's configuration, as Word=value; may be repeated",
    )


def add_ssh_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the host, and what ssh is to be told, for a command that only logs in."""
    parser.add_argument("host", metavar="[user@]host", help="as ssh knows it")
    group = parser.add_argument_group("ssh, which gets there")
    add_login_arguments(group)
    group.add_argument(
        "-v", action="count", dest="verbose", default=0, help="show all that is said there"
    )


def read_target(given: argparse.Namespace) -> SshTarget:
    """Whom ssh is to call, by :func:`add_ssh_arguments`.

    Raises:
      UsageError: the host makes no sense.
    """
    host = parse_host(given.host)
    if host.port is not None:
        raise UsageError(f"{given.host}: the port of sshd is ssh's business: -o Port={host.port}")
    target = ssh_target(host, given)
    return target._replace(verbose=max(0, target.verbose - 1))


def ssh_target(host: HostArgument, given: argparse.Namespace) -> SshTarget:
    """Whom ssh is to call, by :func:`add_login_arguments` and a host that was read.

    Raises:
      UsageError: two users are named.
    """
    return SshTarget(
        host.host,
        user=agreed(host.user, given.username, "user", "-u/-l"),
        config_file=given.config_file,
        identity_files=tuple(given.identity_files),
        options=tuple(given.ssh_options),
        verbose=given.verbose,
    )


def agreed(in_host: T | None, by_option: T | None, what: str, option: str) -> T | None:
    if in_host is not None and by_option is not None and in_host != by_option:
        texts = [
            word if isinstance(word, str) else ",".join(map(str, word))
            for word in (in_host, by_option)
        ]
        raise UsageError(f"two {what}s: {texts[0]} in the host, {texts[1]} by {option}")
    return in_host if in_host is not None else by_option
