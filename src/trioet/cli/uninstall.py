"""`trioet uninstall`: remove from a host what `trioet install` made there."""

from __future__ import annotations

import argparse

from trioet.cli.ssh_options import add_ssh_arguments, read_target

EPILOG = """\
exit status: 0 if it is gone; 1 if not, or if there was none; 255 if ssh failed; 2 for a command
line that cannot be followed.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet uninstall",
        description="Remove from a host what `trioet install` made there, and nothing else.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--system", action="store_true", help="what was installed for all users, by sudo"
    )
    parser.add_argument("--force", action="store_true", help="even if sessions may be open there")
    add_ssh_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Uninstall; return the exit status."""
    given = build_parser().parse_args(argv)
    target = read_target(given)
    from trioet.cli.installing import run
    from trioet.install.installation import Wish, uninstall

    wish = Wish(given.system)
    return run(
        target.host,
        given.verbose > 0,
        lambda show, chat: uninstall(target, wish, show, chat, force=given.force),
    )
