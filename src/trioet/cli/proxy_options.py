"""The command line of `trioet proxy`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NamedTuple

from trioet.cli.connect_options import (
    ConnectOptions,
)
from trioet.cli.parser import Parser
from trioet.cli.pipe_options import QUIET, add_gateway_arguments, login_options, parse_gateway
from trioet.cli.ssh_options import Once
from trioet.errors import UsageError
from trioet.proxy.places import ProxyPlace, parse_listen, parse_to
from trioet.wire.forward import Address

USAGE: Final = "trioet proxy --listen PLACE --to PLACE [options]"

DESCRIPTION: Final = """\
Listen here, connect elsewhere, and have every connection between survive the loss of the
network. A standing service: it logs in again by itself, and goes on listening meanwhile.
"""

EPILOG: Final = """\
With --via, a gateway that ssh logs in to and that has trioet connects to HOST:PORT:
  trioet proxy --listen 5432 --via gateway --to db.internal:5432
Without, the other end is a trioet proxy too, and has the same key; first there, then here:
  trioet proxy --new-key proxy.key        (and copy it, by a safe way)
  trioet proxy --listen eternal:*:6622 --to localhost:5432 --key-file proxy.key
  trioet proxy --listen 5432 --to eternal:server:6622 --key-file proxy.key

exit status: 0 after SIGTERM, SIGINT or SIGHUP; 255 if it cannot listen; 2 for a command line that
cannot be followed.
"""


class ProxyOptions(NamedTuple):
    """What the user asked for. ``session`` goes to the gateway, if there is one."""

    listen: ProxyPlace
    to: ProxyPlace
    session: ConnectOptions | None
    key_file: str | None
    health: str | None
    health_token: str | None
    print_unit: str | None
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """The parser of `trioet proxy`; its errors are raised as UsageError."""
    parser = Parser(
        prog="trioet proxy",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "--listen",
        metavar="PLACE",
        action=Once,
        help="[ADDR:]PORT (default: on localhost; * for all addresses), /path of a Unix socket, or "
        "eternal:ADDR:PORT for another trioet proxy",
    )
    parser.add_argument(
        "--to",
        metavar="PLACE",
        action=Once,
        help="HOST:PORT, /path of a Unix socket, or eternal:HOST:PORT where another trioet proxy "
        "listens",
    )
    parser.add_argument(
        "--key-file", metavar="FILE", action=Once, help="the key that both proxies have"
    )
    parser.add_argument(
        "--new-key", metavar="FILE", action=Once, help="write a new key there, and exit"
    )
    service = parser.add_argument_group("the service")
    service.add_argument(
        "--health",
        metavar="PLACE",
        action=Once,
        help="answer /healthz and /metrics there: 127.0.0.1:PORT or unix:/path",
    )
    service.add_argument(
        "--health-token",
        metavar="FILE",
        action=Once,
        help="what to show for /metrics; without it --health is for this machine only",
    )
    service.add_argument(
        "--print-unit", choices=("system", "user"), help="print a systemd unit and exit"
    )
    add_gateway_arguments(
        parser,
        title="the gateway",
        ssh_title="ssh, which brings the key to a gateway",
        verbose="log more; with -vv (ssh tells what it does), -vvv",
    )
    return parser


def parse(argv: Sequence[str]) -> ProxyOptions | str:
    """Read the command line after `trioet proxy`; return what it asks for, or where to write a
    new key.

    Raises:
      UsageError: it makes no sense; says why.
      SystemExit: it asks for help, which is printed.
    """
    given = build_parser().parse_args(list(argv))
    if given.new_key is not None:
        if len(argv) > 2:
            raise UsageError("--new-key writes a key and does nothing else")
        return str(given.new_key)
    if given.listen is None or given.to is None:
        raise UsageError("from where to where? --listen PLACE --to PLACE")
    listen, to = parse_listen(given.listen), parse_to(given.to)
    _check_ends(listen, to, given)
    session = None
    if given.gateway is not None:
        session = login_options(parse_gateway(given.gateway), given, (QUIET,))
    return ProxyOptions(
        listen,
        to,
        session,
        key_file=given.key_file,
        health=given.health,
        health_token=given.health_token,
        print_unit=given.print_unit,
        verbose=given.verbose > 0,
    )


def _check_ends(listen: ProxyPlace, to: ProxyPlace, given: argparse.Namespace) -> None:
    eternal = listen.eternal or to.eternal
    if eternal and given.gateway is not None:
        raise UsageError(
            "--via goes to a gateway by ssh, and eternal: to a proxy without: not both"
        )
    if eternal and given.key_file is None:
        raise UsageError("eternal: needs the key that both ends have: --key-file FILE")
    if not eternal and given.key_file is not None:
        raise UsageError("--key-file is for eternal: ends, of which there are none")
    if not eternal and given.gateway is None:
        raise UsageError(
            "nothing here survives anything: name a gateway (--via), or a trioet proxy at one end "
            "(eternal:HOST:PORT)"
        )
    if isinstance(to.endpoint, Address) and to.endpoint.port == 0:
        raise UsageError(f"--to {given.to}: which port?")
