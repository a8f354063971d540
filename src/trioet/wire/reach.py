"""Why a connection to a destination did not come about.

The side that connects says so to the other, which tells the application in whatever words
it understands: those of SOCKS, a reset, or text.
"""

from __future__ import annotations

from enum import IntEnum


class Failure(IntEnum):
    """A reason, by its number on the wire.

    The smaller of two tells more: when a host has several addresses and none answers, that
    one is the reason.
    """

    REFUSED = 1
    """Nobody listens there."""

    NOT_ALLOWED = 2
    """A firewall or a file's permissions forbid it."""

    HOST_UNREACHABLE = 3

    NETWORK_UNREACHABLE = 4
    """No way leads there; also, the machine has no address of that family."""

    TIMED_OUT = 5

    NO_SUCH_HOST = 6
    """The name does not resolve, for good or for now."""

    GENERAL = 7
    """Any other, such as want of descriptors."""
