"""`trioet stdio`: a connection to a port of this machine, for an ssh that may not forward; or to
the door of this user's guests, which has none.

Says :data:`STDIO_READY` when connected and then copies both ways. Standard library only: it
stands between a user and a prompt.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

from trioet.bootstrap.remote_command import NOBODY, STDIO_READY
from trioet.errors import StepFailed
from trioet.server.places import guests_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

CONNECT_TIMEOUT_S = 10.0
CHUNK = 64 * 1024


def main(argv: list[str]) -> int:
    """Copy until the connection ends, or one side is gone; return the exit status.

    Raises:
      StepFailed: nobody listens at the port.
    """
    port: int | None = _parser().parse_args(argv).port
    try:
        connection = _connect_guests() if port is None else _connect(port)
    except OSError as error:
        end = "guests.sock" if port is None else port
        raise StepFailed("stdio", f"{NOBODY} {end} there: {error.strerror or error}") from error
    with connection:
        _write_all(1, STDIO_READY)
        threading.Thread(target=_copy_up, args=(connection,), daemon=True).start()
        with suppress(OSError):
            _copy_down(connection)
    return 0


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="trioet stdio",
        description="Connect stdin and stdout with a port of this machine. `trioet connect` "
        "has ssh run this where sshd forbids to forward.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", metavar="N", type=int, help="where to connect")
    where.add_argument(
        "--guests", action="store_true", help="connect to the door of this user's guests"
    )
    return parser


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("localhost", port), CONNECT_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    return connection


def _connect_guests() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(guests_socket())
    except OSError:
        connection.close()
        raise
    return connection


def _copy_up(connection: socket.socket) -> None:
    """Copy stdin to the connection, and tell it the end."""
    how = socket.SHUT_WR
    try:
        while data := os.read(0, CHUNK):
            connection.sendall(data)
    except OSError:
        how = socket.SHUT_RDWR
    with suppress(OSError):
        connection.shutdown(how)


def _copy_down(connection: socket.socket) -> None:
    """Copy the connection to stdout.

    Raises:
      OSError: one of them is gone.
    """
    while data := connection.recv(CHUNK):
        _write_all(1, data)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
