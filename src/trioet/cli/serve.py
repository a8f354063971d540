"""`trioet serve`: the router, for a whole machine or for one user."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from typing import Final

import trio

from trioet.cli.serve_unit import print_unit
from trioet.errors import UsageError
from trioet.server.config import ServeConfig, read_config
from trioet.server.relay_policy import parse_pattern
from trioet.server.service import Service
from trioet.server.units import SERVICE_UNITS

NICENESS: Final = 5
"""Whoever is in a session goes before strangers at the door."""


def main(argv: list[str]) -> int:
    """Run the router until SIGTERM or SIGINT."""
    options = build_parser().parse_args(argv)
    if options.print_unit:
        sys.stdout.write(print_unit(options, configuration(options)))
        return 0
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    config = configuration(options)
    os.nice(NICENESS)
    trio.run(Service(config, lambda: configuration(options)).run)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet serve",
        description="Accept sessions on this machine and hand each to its user's keeper. As "
        "root it serves all users, as a user that user. It holds no keys and no sessions: "
        "restart it whenever you like. SIGHUP reads the configuration again, SIGTERM drains.",
    )
    parser.add_argument("--port", type=int, help="TCP port (2022)")
    parser.add_argument(
        "--bind", metavar="ADDR", action="append", help="address to listen on; repeatable (all)"
    )
    parser.add_argument("--config", metavar="FILE", help="TOML, or an et.cfg")
    parser.add_argument("--socket", metavar="PATH", help="where keepers register")
    parser.add_argument(
        "--relay-to",
        metavar="PLACE",
        action="append",
        help="let users' sessions jump through this machine to HOST[:PORT] only, * for any part; "
        "repeatable (anywhere)",
    )
    parser.add_argument(
        "--no-relay", action="store_true", help="let no session jump through this machine"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument(
        "--print-unit",
        choices=["socket", *sorted(SERVICE_UNITS)],
        help="print a systemd unit for the other options and exit",
    )
    return parser


def configuration(options: argparse.Namespace) -> ServeConfig:
    """The file's settings, with the command line's on top.

    Raises:
      UsageError: the file cannot be followed, or a value is impossible.
    """
    config = read_config(options.config) if options.config else ServeConfig()
    given = {
        "port": options.port,
        "bind": tuple(options.bind) if options.bind else None,
        "socket": options.socket,
        "verbose": options.verbose or None,
        "relay": False if options.no_relay else None,
        "relay_to": tuple(map(parse_pattern, options.relay_to)) if options.relay_to else None,
    }
    config = dataclasses.replace(
        config, **{name: value for name, value in given.items() if value is not None}
    )
    if not 0 <= config.port < 65536:
        raise UsageError(f"--port {config.port}: ports go from 0 to 65535")
    return config
