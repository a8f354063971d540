"""`trioet scon`: goscon's protocol, as a server and as a client."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

COMMANDS = {
    "serve": "stand between clients whose connections break and backends that must not notice",
    "connect": "reach a backend behind a goscon or a `trioet scon serve`",
}


def main(argv: list[str]) -> int:
    """Run a subcommand; return its exit status."""
    if not argv or argv[0] not in COMMANDS:
        build_parser().parse_args(argv)
    run: Callable[[list[str]], int] = import_module(f"trioet.cli.scon_{argv[0]}").main
    return run(argv[1:])


def build_parser() -> argparse.ArgumentParser:
    """The names only: each subcommand parses its own arguments when chosen."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="trioet scon",
        description="The Stable Connection Protocol of goscon: a TCP connection to a backend that "
        "outlives the client's own. `trioet scon COMMAND --help` tells more.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser
