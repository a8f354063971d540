"""`trioet scon`: goscon's Stable Connection Protocol, its server and its client."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS: Final = {
    "serve": "stand between clients that come and go and backends that must not notice",
}
"""Each has a module of its own, ``scon_NAME``."""


def build_parser() -> argparse.ArgumentParser:
    """The names of the subcommands only; each parses its own arguments."""
    parser = argparse.ArgumentParser(
        prog="trioet scon",
        description="Sessions of goscon's protocol, which outlive their connections.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def main(argv: list[str]) -> int:
    """Run a subcommand; return its exit status."""
    if not argv or argv[0] not in COMMANDS:
        build_parser().parse_args(argv)
    run: Callable[[list[str]], int] = import_module(f"trioet.cli.scon_{argv[0]}").main
    return run(argv[1:])
