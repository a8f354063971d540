"""The tunnels on the command line of `trioet connect`: which options, and what they mean.

What can read them is imported for those who want some: ssh is started right after this.
"""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trioet.wire.forward import Forward


class _InOrder(argparse.Action):
    """One list for all options of a kind: in which order they came matters."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        written = [*getattr(namespace, self.dest), (self.option_strings[0], values)]
        setattr(namespace, self.dest, written)


def add_forward_arguments(group: argparse._ArgumentGroup) -> None:
    """Define every option that opens a tunnel, and -g."""
    _add_tunnel(
        group,
        *("-L",),
        metavar="[BIND:]PORT:HOST:PORT",
        meaning="listen here, connect from there; either end may be the /path of a Unix socket; "
        "with /udp at the end, UDP",
    )
    _add_tunnel(
        group,
        *("-R",),
        metavar="[BIND:]PORT[:HOST:PORT]",
        meaning="listen there, connect from here; without HOST, SOCKS",
    )
    _add_tunnel(group, *("-D",), metavar="[BIND:]PORT", meaning="SOCKS here, connect from there")
    _add_tunnel(
        group,
        *("-t", "--tunnel"),
        metavar="SRC:DST",
        meaning="as ET: ports, ranges of ports or /paths, more after commas; listen here",
    )
    _add_tunnel(
        group,
        *("-r", "--reversetunnel"),
        metavar="SRC:DST",
        meaning="the same, listening there; NAME:/path makes a socket there for $NAME",
    )
    group.add_argument(
        "-g",
        action="store_true",
        dest="gateway_ports",
        help="-L and -D that name no address listen on all",
    )


def _add_tunnel(group: argparse._ArgumentGroup, *names: str, metavar: str, meaning: str) -> None:
    group.add_argument(
        *names, action=_InOrder, dest="tunnels", default=[], metavar=metavar, help=meaning
    )


def read_forwards(given: argparse.Namespace) -> tuple[Forward, ...]:
    """The tunnels that the command line asks for, in the order given.

    Raises:
      UsageError: one makes no sense; shows where.
    """
    if not given.tunnels:
        return ()
    from trioet.wire.forward import Side
    from trioet.wire.forward_specs import (
        parse_et_tunnels,
        parse_ssh_dynamic,
        parse_ssh_local,
        parse_ssh_remote,
    )

    forwards: list[Forward] = []
    for option, text in given.tunnels:
        match option:
            case "-L":
                forwards.append(parse_ssh_local(text, gateway_ports=given.gateway_ports))
            case "-R":
                forwards.append(parse_ssh_remote(text))
            case "-D":
                forwards.append(parse_ssh_dynamic(text, gateway_ports=given.gateway_ports))
            case "-t":
                forwards += parse_et_tunnels(text, Side.LOCAL)
            case _:
                forwards += parse_et_tunnels(text, Side.REMOTE)
    return tuple(forwards)
