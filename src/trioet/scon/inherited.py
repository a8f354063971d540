"""Listening sockets that one process hands to the next: a worker, or its own successor.

They are inherited as descriptors, and a variable of the environment says which is which.
So a port is never closed between two processes, and who waits in its queue is served by
the second.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

VARIABLE: Final = "TRIOET_SCON_SOCKETS"
"""``clients=5,6;manager=7``; removed from the environment when it has been read."""

CLIENTS: Final = "clients"
ACTIVATED: Final = "activated"
"""Those for clients, if systemd opened them: taken as they are, whatever the configuration says."""
KCP: Final = "kcp"
"""UDP sockets for clients."""
MANAGER: Final = "manager"
RELAYS: Final = "relays"
CONTROL: Final = "control"
"""To the process that this one is a worker of: scon/workers.py."""
READY: Final = "ready"
"""To the process that this one replaces: a byte says that it serves."""

Sockets: TypeAlias = Mapping[str, Sequence[socket.socket]]


def inherited() -> dict[str, list[socket.socket]]:
    """Take what was handed to this process; nothing, mostly. No child inherits it unasked."""
    found: dict[str, list[socket.socket]] = {}
    for part in filter(None, os.environ.pop(VARIABLE, "").split(";")):
        name, _, numbers = part.partition("=")
        for number in filter(None, numbers.split(",")):
            os.set_inheritable(int(number), False)
            found.setdefault(name, []).append(socket.socket(fileno=int(number)))
    return found


def start_heir(sockets: Sockets, command: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
    """Start this program anew, with its own arguments, and hand it these sockets.

    Raises:
      OSError: it cannot be started.
    """
    given = {name: [sock.fileno() for sock in socks] for name, socks in sockets.items()}
    told = ";".join(f"{name}={','.join(map(str, numbers))}" for name, numbers in given.items())
    return subprocess.Popen(
        command or own_command(),
        env={**os.environ, VARIABLE: told},
        pass_fds=[number for numbers in given.values() for number in numbers],
    )


def own_command() -> list[str]:
    """How this program was started, as its successor is to be: with what is installed then."""
    if os.path.basename(sys.argv[0]) == "trioet":
        return list(sys.argv)
    return [sys.executable, "-m", "trioet.cli.main", *sys.argv[1:]]
