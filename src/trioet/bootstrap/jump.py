"""Jumphosts as the user wrote them: ``--jump A,B,C``, each ``[user@]host[:sshport]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trioet.bootstrap.host import HostArgument, parse_host
from trioet.errors import UsageError

MAX_JUMPS = 8
"""More is a loop in somebody's configuration."""


class Jump(NamedTuple):
    """One jumphost. ``ssh_port`` is sshd's, ``port`` that of the trioet server there.

    None means that it was not said: ssh's configuration knows, or the host itself.
    """

    host: str
    user: str | None = None
    ssh_port: int | None = None
    port: int | None = None
    server_fifo: str | None = None

    def __str__(self) -> str:
        """As ssh's ``-J`` takes it."""
        return str(HostArgument(self.host, self.user, self.ssh_port))


def parse_jumps(text: str) -> tuple[Jump, ...]:
    """Take the argument of ``--jump`` apart.

    Raises:
      UsageError: it makes no sense.
    """
    jumps = []
    for word in text.split(","):
        if not word.strip():
            raise UsageError(f"--jump {text}: a host is missing between commas")
        found = parse_host(word.strip().removeprefix("ssh://"))
        jumps.append(Jump(found.host, found.user, found.port))
    if len(jumps) > MAX_JUMPS:
        raise UsageError(f"--jump {text}: {len(jumps)} hosts; {MAX_JUMPS} at most")
    return tuple(jumps)


def ssh_jumps(jumps: Sequence[Jump]) -> str | None:
    """The argument of ssh's ``-J`` that leads through these hosts; None if there is none."""
    return ",".join(map(str, jumps)) or None
