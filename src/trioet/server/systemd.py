"""What systemd tells a service, and what a service tells systemd (sd_listen_fds(3),
sd_notify(3)). Both are a few lines; a library would be longer."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

FIRST_FD: Final = 3


def listen_fds() -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for us; none if it has not.

    The variables that tell of them are removed: they are not for our children.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(FIRST_FD, FIRST_FD + int(count)):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets


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
