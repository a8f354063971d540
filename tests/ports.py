"""Ports of this machine that nobody uses."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from contextlib import closing
from typing import Final

ATTEMPTS: Final = 100

_GIVEN: Final[set[int]] = set()
_LOCKS: Final = os.open(
    os.path.join(tempfile.gettempdir(), f"trioet-test-ports-{os.getuid()}"),
    os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
    0o600,
)
"""A byte for each port, locked by the process that it was given to, until that ends."""


def free_ports(count: int) -> range:
    """So many ports in a row that nobody listens on.

    Below those that the kernel gives to whoever connects: one of these may be taken again
    at any moment. Nobody else is given the same, not in another process of these tests either.
    """
    for _ in range(ATTEMPTS):
        first = random.randrange(10_000, 32_000)
        ports = range(first, first + count)
        if all(map(_reserve, ports)) and all(map(_is_free, ports)):
            return ports
    raise AssertionError("no ports are free")


def _reserve(port: int) -> bool:
    if port in _GIVEN:
        return False
    try:
        fcntl.lockf(_LOCKS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _GIVEN.add(port)
    return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
