"""Ports of this machine that nobody uses."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import closing
from typing import Final

ATTEMPTS: Final = 100


def free_ports(count: int) -> range:
    """So many ports in a row that nobody listens on.

    Below those that the kernel gives to whoever connects: one of these may be taken again
    at any moment.
    """
    for _ in range(ATTEMPTS):
        first = random.randrange(10_000, 32_000)
        if all(map(_is_free, range(first, first + count))):
            return range(first, first + count)
    raise AssertionError("no ports are free")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
