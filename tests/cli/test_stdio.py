"""`trioet stdio`, run as ssh runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trioet.bootstrap.remote_command import STDIO_READY

PATIENCE_S = 20


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield listener


def stdio(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trioet.cli.main", "stdio", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_both_ways_are_copied_to_their_ends(listener: socket.socket) -> None:
    up, down = os.urandom(1 << 20), os.urandom(1 << 20)
    heard = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(down)
            while data := connection.recv(65536):
                heard.extend(data)
            connection.sendall(b"bye")

    server = threading.Thread(target=serve)
    server.start()
    with stdio(listener.getsockname()[1]) as process:
        said, complaints = process.communicate(up, PATIENCE_S)
    server.join(PATIENCE_S)
    assert heard == up
    assert said == STDIO_READY + down + b"bye"
    assert (process.returncode, complaints) == (0, b"")


def test_it_ends_with_the_connection_though_stdin_is_open(listener: socket.socket) -> None:
    with stdio(listener.getsockname()[1]) as process:
        listener.accept()[0].close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == STDIO_READY


def test_it_ends_when_nobody_reads_on(listener: socket.socket) -> None:
    with stdio(listener.getsockname()[1]) as process:
        connection, _ = listener.accept()
        assert process.stdout is not None
        process.stdout.close()
        with connection, suppress(ConnectionError):
            while True:
                connection.sendall(bytes(65536))
        process.wait(PATIENCE_S)


def test_nobody_listens_there(free_tcp_port: int) -> None:
    with stdio(free_tcp_port) as process:
        said, complaints = process.communicate(b"", PATIENCE_S)
    assert (process.returncode, said) == (255, b"")
    assert complaints == (
        b"trioet: nothing answers at port %d there: Connection refused\n" % free_tcp_port
    )


def test_there_are_no_guests_there(runtime_dir: Path) -> None:
    command = [sys.executable, "-m", "trioet.cli.main", "stdio", "--guests"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr.startswith(b"trioet: nothing answers at port guests.sock there: ")
    assert list(runtime_dir.iterdir()) == []
