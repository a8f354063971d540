"""The command line of `trioet pipe`.

Imports nothing slow: ssh is started right after this.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NamedTuple

from trioet.bootstrap.host import HostArgument, parse_host
from trioet.cli.connect_options import (
    MACSERVER_TERMINAL,
    ConnectOptions,
    add_server_arguments,
    add_ssh_arguments,
    agreed_ports,
)
from trioet.cli.jump_options import add_jump_arguments, read_jumps
from trioet.cli.parser import Parser
from trioet.cli.ssh_options import Once, agreed
from trioet.cli.way_options import Via, add_srv_argument, add_way_arguments, read_srv
from trioet.errors import UsageError

USAGE: Final = "trioet pipe [options] [user@]HOST:PORT | --via [user@]GATEWAY HOST:PORT"

DESCRIPTION: Final = """\
Connect stdin and stdout with a port on the other side, and survive the loss of the network.
Without --via, HOST:PORT is an sshd: a login to it brings the key, and the connection goes to
it as well.
"""

EPILOG: Final = """\
In ssh's configuration, for a host that runs trioet:
  ProxyCommand trioet pipe %r@%n:%p
and for hosts behind one that does:
  ProxyCommand trioet pipe --via gateway %h:%p

exit status: 0 when both directions have ended; 255 if trioet or ssh failed, HOST:PORT
cannot be reached or reset the connection; 2 for a command line that cannot be followed.
"""

OWN_WAY: Final = ("ProxyCommand=none", "ControlMaster=no", "ControlPath=none")
"""For a login to the host whose own configuration says `ProxyCommand trioet pipe`: it must not
go through itself, nor take the place of the ssh that waits for us among those to share."""

QUIET: Final = "LogLevel=ERROR"
"""The ssh that waits for us shows sshd's banner itself."""


class PipeOptions(NamedTuple):
    """What the user asked for. ``session`` goes to the gateway."""

    session: ConnectOptions
    host: str
    port: int
    is_gateway: bool
    """The place is the sshd itself to which the login goes: `localhost` there, unless its
    machine says another address."""

    verbose: bool = False


def build_parser() -> argparse.ArgumentParser:
    """The parser of `trioet pipe`; its errors are raised as UsageError."""
    parser = Parser(
        prog="trioet pipe",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("place", metavar="[user@]HOST:PORT", help="where to connect")
    add_gateway_arguments(
        parser,
        title="the other end",
        ssh_title="ssh, which brings the key there",
        verbose="tell what happens; more with -vv (ssh tells too), -vvv",
    )
    return parser


def add_gateway_arguments(
    parser: argparse.ArgumentParser, *, title: str, ssh_title: str, verbose: str
) -> None:
    """Define --via and what belongs to it, for commands that go through a host."""
    server = parser.add_argument_group(title)
    server.add_argument(
        "--via",
        action=Once,
        dest="gateway",
        metavar="[user@]GATEWAY",
        help="log in there, as ssh knows it, and connect to HOST:PORT from there",
    )
    add_server_arguments(server)
    add_way_arguments(server, "--way")
    way_there = parser.add_argument_group("the way there")
    add_srv_argument(way_there)
    add_jump_arguments(way_there)
    add_ssh_arguments(parser.add_argument_group(ssh_title), verbose)


def parse(argv: Sequence[str]) -> PipeOptions:
    """Read the command line after `trioet pipe`.

    Raises:
      UsageError: it makes no sense; says why.
      SystemExit: it asks for help, which is printed.
    """
    given = build_parser().parse_args(list(argv))
    place = parse_place(given.place)
    if given.gateway is None:
        login = HostArgument(place.host, place.user)
        own = [*OWN_WAY, f"Port={place.port}"]
    elif place.user is not None:
        raise UsageError(f"{given.place}: a user belongs to the gateway: --via user@gateway")
    else:
        login, own = parse_gateway(given.gateway), []
    session = login_options(login, given, (*own, QUIET))
    assert place.port is not None, "it was asked for"
    return PipeOptions(
        session, place.host, place.port, given.gateway is None, verbose=given.verbose > 0
    )


def parse_place(text: str) -> HostArgument:
    """Take ``[user@]HOST:PORT`` apart: what follows the last colon is the port, so that ssh's
    ``%h:%p`` is right for IPv6 addresses too.

    Raises:
      UsageError: it is none.
    """
    place, _, port = text.rpartition(":")
    user, at, host = place.rpartition("@")
    if not host or not port or "@" in port:
        raise UsageError(f"{text!r}: where to? As HOST:PORT")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    found = parse_host(f"{user}{at}{host}:{port}")
    if found.more_ports:
        raise UsageError(f"{text!r}: one port is enough")
    return found


def parse_gateway(text: str) -> HostArgument:
    """Take what --via names.

    Raises:
      UsageError: it is no host.
    """
    if text in {via.value for via in Via}:
        raise UsageError(
            f"--via {text}: here --via names a host, and --way {text} how the session gets there"
            f" (for a host of that name: --via USER@{text})"
        )
    return parse_host(text)


def login_options(
    host: HostArgument, given: argparse.Namespace, own: Sequence[str]
) -> ConnectOptions:
    """A session with ``host`` that has no terminal. ``own`` are options of ours for ssh, which
    those that the user gives go before.

    Raises:
      UsageError: what was given makes no sense.
    """
    ports = agreed_ports(host, given)
    jumps = read_jumps(given)
    if given.macserver and given.terminal_path:
        raise UsageError("--macserver and --terminal-path both say where the terminal is")
    options = ConnectOptions(
        host=host.host,
        user=agreed(host.user, given.username, "user", "-u/-l"),
        port=next(iter(ports), None),
        more_ports=ports[1:],
        via=given.via,
        srv=read_srv(given, jumps),
        has_terminal=False,
        terminal_path=MACSERVER_TERMINAL if given.macserver else given.terminal_path,
        server_fifo=given.serverfifo,
        config_file=given.config_file,
        identity_files=tuple(given.identity_files),
        ssh_options=(*given.ssh_options, *own),
        verbose=max(0, given.verbose - 1),
        ssh_backend=given.ssh_backend,
        jumps=jumps,
    )
    _ = options.remote_command  # raises what is wrong with its paths
    return options
