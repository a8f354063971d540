"""What systemd tells a service, and what a service tells systemd (sd_listen_fds(3),
sd_notify(3)). Both are a few lines; a library would be longer."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

from trioet.errors import LocalError

FIRST_FD: Final = 3


def listen_fds() -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for us; none if it has not.

    The variables that tell of them are removed, and no child inherits the sockets.

    Raises:
      LocalError: something else than a TCP port was handed to us.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_listener(number) for number in range(FIRST_FD, FIRST_FD + int(count))]


def notify(message: str) -> None:
    """Tell systemd something, like ``READY=1``; does nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace, unix(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.connect(address)
        sender.send(message.encode())


def _listener(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        listener = socket.socket(fileno=number)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise LocalError(f"LISTEN_FDS: descriptor {number}: {error.strerror}") from error
    if not listens or listener.family not in (socket.AF_INET, socket.AF_INET6):
        listener.close()
        raise LocalError(
            f"LISTEN_FDS: descriptor {number} is no listening TCP socket; "
            "in the .socket unit, write ListenStream= and a port"
        )
    return listener
