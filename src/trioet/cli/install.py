"""`trioet install`: put trioet on a host that ssh reaches."""

from __future__ import annotations

import argparse

from trioet.cli.ssh_options import add_ssh_arguments, read_target
from trioet.errors import UsageError

EPILOG = """\
Needs Python 3.11 there, or uv, and nothing else: neither pip nor a network. What trioet needs
is fetched there by uv or pip if they can, else sent from here. All of it goes below
~/.local/share/trioet, with links in ~/.local/bin (--system: /usr/local/lib/trioet and
/usr/local/bin); `trioet uninstall` removes it again. An upgrade disturbs no session.

exit status: 0 if trioet is there and answers; 1 if not: unless it is said otherwise, what was
there before is as it was; 255 if ssh failed; 2 for a command line that cannot be followed.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet install",
        description="Put this trioet, in exactly this version, on a host that ssh reaches, or "
        "upgrade the one there.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--offline", action="store_true", help="fetch nothing there: send all that is needed"
    )
    parser.add_argument(
        "--system",
        action="store_true",
        help="for all users, and start the service (port 2022), as root by sudo",
    )
    parser.add_argument(
        "--user-service",
        action="store_true",
        help="start the service of that user's own systemd, and let it linger",
    )
    add_ssh_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Install; return the exit status."""
    given = build_parser().parse_args(argv)
    if given.system and given.user_service:
        raise UsageError("--system and --user-service: one service is enough")
    target = read_target(given)
    from trioet.cli.installing import run
    from trioet.install.installation import Wish, install

    wish = Wish(given.system, given.user_service, given.offline)
    return run(target.host, given.verbose > 0, lambda show, chat: install(target, wish, show, chat))
