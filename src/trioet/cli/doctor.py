"""`trioet doctor`: walk the path to a session, say what is wrong and what to do about it."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from trioet.bootstrap.host import parse_host
from trioet.cli.connect_options import (
    MACSERVER_TERMINAL,
    SshBackend,
    add_server_arguments,
    add_ssh_arguments,
    agreed_ports,
)
from trioet.cli.ending import until_ended
from trioet.cli.jump_options import add_jump_arguments, read_jumps
from trioet.cli.output import Printing
from trioet.cli.parser import Parser
from trioet.cli.proxy_jump import jumps_of_ssh
from trioet.cli.ssh_options import ssh_target
from trioet.cli.way_options import Via, add_srv_argument, read_srv
from trioet.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trioet.doctor.finding import Finding
    from trioet.doctor.walk import Destination

USAGE: Final = "trioet doctor [options] [[user@]host[:port[,port]]]"

EPILOG: Final = """\
Without a host it looks at this machine alone. It changes nothing, there or here.

exit status: 0 if all is well, 1 if something is wrong, 2 for a command line that cannot be
followed, 255 if it cannot even start.
"""

EXIT_WRONG: Final = 1


def main(argv: list[str]) -> int:
    """Examine; return 0 if all is well."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.host is not None:
        destination = _destination(options)
        jumps = read_jumps(options)
        srv = read_srv(options, jumps)
        destination = destination._replace(srv=srv)
    elif options == parser.parse_args(["--json"] if options.json else []):
        destination = None
    else:
        raise UsageError("which host? Without one there are no options but --json")

    import trio  # not for --help, nor for a command line that makes no sense

    from trioet.doctor.hops import examine_through
    from trioet.doctor.show import Report, as_json, is_well
    from trioet.doctor.walk import examine, examine_here

    if destination is not None and jumps is None:
        jumps = jumps_of_ssh(destination.target)
    report = None if options.json else Report(sys.stdout)

    def tell(finding: Finding) -> None:
        if report is not None:
            with Printing():
                report.add(finding)

    async def walk() -> int:
        if destination is None:
            findings = await examine_here(tell)
        elif jumps:
            findings = await examine_through(destination, jumps, tell)
        else:
            findings = await examine(destination, tell)
        with Printing():
            if report is not None:
                report.end(findings)
            else:
                print(as_json(options.host, findings))
        return 0 if is_well(findings) else EXIT_WRONG

    return trio.run(until_ended, walk)


def build_parser() -> argparse.ArgumentParser:
    """The parser of `trioet doctor`; its errors are raised as UsageError."""
    parser = Parser(
        prog="trioet doctor",
        usage=USAGE,
        description="Walk the whole path to a session: ssh, the shell there, trioet there, its\n"
        "port. Say in a line for each step what was found, and what to do about it.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "host", nargs="?", metavar="[user@]host[:port[,port]]", help="as for trioet connect"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    add_server_arguments(parser.add_argument_group("the other end"))
    way = parser.add_argument_group("the way there")
    add_srv_argument(way)
    add_jump_arguments(way)
    add_ssh_arguments(parser.add_argument_group("ssh"))
    parser.set_defaults(via=Via.AUTO)
    return parser


def _destination(given: argparse.Namespace) -> Destination:
    from trioet.doctor.walk import Destination

    if given.ssh_backend is SshBackend.ASYNCSSH:
        raise UsageError("the doctor goes by the ssh program: leave --ssh-backend away")
    host = parse_host(given.host)
    target = ssh_target(host, given)
    ports = agreed_ports(host, given)
    return Destination(
        target,
        port=next(iter(ports), None),
        more_ports=ports[1:],
        terminal_path=MACSERVER_TERMINAL if given.macserver else given.terminal_path,
        server_fifo=given.serverfifo,
    )
