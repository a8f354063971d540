"""The backends behind every SCP server of the run: one echoes, one gives and takes in bulk.

Each is a process of its own, and as cheap as Python allows: it runs beside what is measured.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

DOWN: Final = b"d"
UP: Final = b"u"
ORDER: Final = struct.Struct("<cQ")
"""What a client of the bulk backend says first: the direction, and how many bytes."""
DONE: Final = b"!"
"""Its answer when all came up."""

PIECE: Final = 256 * 1024
BACKLOG: Final = 4096


@contextmanager
def backends() -> Iterator[dict[str, int]]:
    """Both backends' ports, by name, while the block lasts."""
    started: list[int] = []
    ports = {}
    try:
        for name, serve in (("echo", _echo), ("bulk", _bulk)):
            listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
            ports[name] = listener.getsockname()[1]
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                _live(serve, listener)
            started.append(pid)
            listener.close()
        yield ports
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _live(serve: Callable[[socket.socket], None], listener: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(listener)
    finally:
        os._exit(1)


def _echo(listener: socket.socket) -> None:
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                continue
            try:
                data = connections[number].recv(PIECE)
                if data:
                    connections[number].sendall(data)  # short, so that it never waits
            except OSError:
                data = b""
            if not data:
                connections.pop(number).close()


def _bulk(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            with suppress(OSError):
                _attend(connection)
            os._exit(0)
        connection.close()


def _attend(connection: socket.socket) -> None:
    order = connection.recv(ORDER.size, socket.MSG_WAITALL)
    direction, left = ORDER.unpack(order)
    buffer = memoryview(bytearray(os.urandom(PIECE)))
    if direction == DOWN:
        while left:
            left -= connection.send(buffer[: min(left, PIECE)])
        connection.recv(1)  # until the client has all of it
        return
    while left:
        count = connection.recv_into(buffer)
        if not count:
            return
        left -= count
    connection.sendall(DONE)
    connection.recv(1)
