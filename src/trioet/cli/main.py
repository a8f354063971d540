"""The `trioet` command: choose a subcommand, import only that."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from trioet.cli.coercion import undo_coercion
from trioet.cli.importing import imported
from trioet.cli.output import complain
from trioet.errors import TrioetError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

EXIT_USAGE = 2
EXIT_FAILED = 255
"""As ssh says that it, and not the command, failed."""

EXIT_INTERRUPTED = 130
"""As shells say that SIGINT ended it."""

COMMANDS = {
    "connect": "open a session on a host that survives the loss of the network",
    "pipe": "stdin and stdout as a connection that survives: ssh's ProxyCommand",
    "proxy": "a port here that leads elsewhere and survives: a standing service",
    "doctor": "find out why no session can be had with a host, and what to do about it",
    "serve": "accept sessions on this machine (as root: for all users)",
    "share": "let others look on at the session that this is run in",
    "scon": "serve and reach goscon's stable connections",
    "web": "open a command to browsers, in sessions that survive",
    "install": "put trioet on a host that ssh reaches, or upgrade it there",
    "uninstall": "remove from a host what install made there",
    "demo": "see it work: a whole session on this machine, its link cut every few seconds",
    "terminal": "what ssh runs on the far side; not for people",
    "check": "what `trioet doctor` asks on the far side; not for people",
    "stdio": "a port of that machine, for an ssh that may not forward; not for people",
    "keeper": "what holds a user's sessions; started by terminal",
}

EPILOG = """\
exit status: that of the remote command or shell; 255 if trioet or ssh failed;
2 for a command line that cannot be followed. `trioet COMMAND --help` tells more.
"""


def build_parser() -> argparse.ArgumentParser:
    """The top level only: each command parses its own arguments when chosen."""
    import argparse  # not on the way to a command: `trioet terminal` does without

    from trioet import __version__

    parser = argparse.ArgumentParser(
        prog="trioet",
        description="A remote shell that never loses its session.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trioet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def open_streams() -> None:
    """Have what was closed of stdin, stdout and stderr lead nowhere, as ssh does.

    Else what is opened next would have their numbers: others write to these.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            assert nothing == number, "the least that is free"
            os.set_inheritable(nothing, True)
            setattr(sys, name, open(nothing, mode, closefd=False))  # noqa: SIM115 - for good


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    open_streams()
    undo_coercion()
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] not in COMMANDS:
        build_parser().parse_args(arguments)
    command = imported(lambda: import_module(f"trioet.cli.{arguments[0]}"))
    run: Callable[[list[str]], int] = command.main
    try:
        return run(arguments[1:])
    except UsageError as error:
        complain(error)
        return EXIT_USAGE
    except TrioetError as error:
        complain(error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
