"""How `trioet connect` may reach the server: the option, and what it means."""

from __future__ import annotations

import argparse
from enum import Enum


class Via(Enum):
    """Which ways to the server may be taken."""

    AUTO = "auto"
    DIRECT = "direct"
    SSH = "ssh"


def add_way_arguments(group: argparse._ArgumentGroup) -> None:
    """Define --via."""
    group.add_argument(
        "--via",
        type=_via,
        default=Via.AUTO,
        metavar="{auto,direct,ssh}",
        help="reach that port directly, or through ssh, which needs no port but sshd's; "
        "default: directly, and through ssh while that does not work",
    )


def _via(text: str) -> Via:
    try:
        return Via(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: there are auto, direct and ssh") from None
