"""The programs at both ends of a tunnel: a server, and clients of its three services.

What a client sends first says which service: one byte and it comes back, for as long as
the connection stays; or a number of bytes there, or back. These are checked against what
must come, byte by byte, where they arrive. Both programs are processes of their own and as
cheap as Python allows, with big buffers: they run beside what is measured.

    python -m bench.applications                         serves until killed; prints its port
    python -m bench.applications PORT there 8 500000000  prints the ``Streamed`` as JSON
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final, Self

from bench.place import PROJECT
from bench.terminal import BenchError

LOCALHOST: Final = "127.0.0.1"
ECHO: Final = b"e"
THERE: Final = b"t"
BACK: Final = b"b"

ORDER: Final = struct.Struct("<BQ")
"""What a stream's client sends after the byte for its direction: its number, its bytes."""
RECEIPT: Final = struct.Struct("<dd?")
"""What it is sent when all is there: times of first and last byte, and were they right."""

PATTERN_BYTES: Final = 1_000_003
"""A prime: what was lost or doubled in any size of packet shows, in the next period at last."""
BACKLOG: Final = 512
PATIENCE_S: Final = 20.0
"""For a connection of one byte, and for the server to start."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What arrived: in bytes, and when, on the clock of ``time.perf_counter``."""

    count: int
    first: float
    last: float
    right: bool


class Server:
    """The far end of tunnels, in a process of its own. A context manager: leaving ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _command(), cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Streams:
    """Streams of ``total`` bytes in all through ``port``, under way in a process of their own.

    A context manager: leaving ends them.
    """

    def __init__(self, port: int, direction: str, streams: int, total: int) -> None:
        words = [str(port), direction, str(streams), str(total // streams)]
        self._process = subprocess.Popen(
            _command(*words),
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def under_way(self) -> bool:
        return self._process.poll() is None

    def result(self) -> Streamed:
        """What arrived; waits for it.

        Raises:
          BenchError: not everything did, or something else.
        """
        out, err = self._process.communicate()
        if self._process.returncode != 0:
            last = (err.strip().splitlines() or ["no reason given"])[-1]
            raise BenchError(f"a stream broke: {last}")
        streamed = Streamed(**json.loads(out))
        if not streamed.right:
            raise BenchError("a stream arrived damaged")
        return streamed


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """``count`` connections, open from end to end: each has had its byte there and back.

    Raises:
      BenchError: one did not come about.
    """
    with ExitStack() as connections:
        for number in range(count):
            try:
                _echo_once(connections.enter_context(_connect(port)))
            except OSError as error:
                raise BenchError(f"connection {number + 1} of {count}: {error}") from None
        yield


def setups(port: int, at_a_time: int, seconds: float) -> float:
    """Connect, one byte there and back, close, again and again; return how many a second.

    Raises:
      BenchError: one failed.
    """
    begun = time.perf_counter()
    until = begun + seconds
    with ThreadPoolExecutor(at_a_time) as pool:
        done = [pool.submit(_set_up_until, port, until) for _ in range(at_a_time)]
        try:
            total = sum(each.result() for each in done)
        except OSError as error:
            raise BenchError(f"a connection, {at_a_time} at a time: {error}") from None
    return total / (time.perf_counter() - begun)


def _set_up_until(port: int, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        with _connect(port) as connection:
            _echo_once(connection)
        count += 1
    return count


def _connect(port: int) -> socket.socket:
    return socket.create_connection((LOCALHOST, port), PATIENCE_S)


def _echo_once(connection: socket.socket) -> None:
    connection.sendall(ECHO)
    if connection.recv(1) != ECHO:
        raise ConnectionError("closed instead of answered")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench.applications", *words]


def _pattern(number: int) -> bytes:
    """What stream ``number`` carries, over and over. Another for each: none may be mixed up."""
    return random.Random(number).randbytes(PATTERN_BYTES)


def _send_stream(connection: socket.socket, number: int, count: int) -> None:
    period = memoryview(_pattern(number))
    for _ in range(count // PATTERN_BYTES):
        connection.sendall(period)
    connection.sendall(period[: count % PATTERN_BYTES])


def _receive_stream(connection: socket.socket, number: int, count: int) -> Streamed:
    pattern = _pattern(number)
    period = bytearray(PATTERN_BYTES)
    view = memoryview(period)
    first, received, right = 0.0, 0, True
    while received < count:
        filled = received % PATTERN_BYTES
        got = connection.recv_into(view[filled : filled + count - received])
        if not got:
            raise ConnectionError(f"closed after {received} of {count} bytes")
        first = first or time.perf_counter()
        received += got
        if filled + got == PATTERN_BYTES:
            right = right and period == pattern
    last = time.perf_counter()
    left = count % PATTERN_BYTES
    return Streamed(count, first, last, right and period[:left] == pattern[:left])


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    data = connection.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionError("closed too early")
    return data


def _serve_stream(connection: socket.socket, direction: bytes) -> None:
    with connection, suppress(ConnectionError):
        number, count = ORDER.unpack(_receive_exactly(connection, ORDER.size))
        if direction == BACK:
            _send_stream(connection, number, count)
        else:
            got = _receive_stream(connection, number, count)
            connection.sendall(RECEIPT.pack(got.first, got.last, got.right))
        # Whoever has everything closes first: not every tunnel knows half a close.
        connection.recv(1)


def _run_stream(connection: socket.socket, direction: bytes, number: int, count: int) -> Streamed:
    connection.sendall(direction + ORDER.pack(number, count))
    if direction == BACK:
        return _receive_stream(connection, number, count)
    _send_stream(connection, number, count)
    return Streamed(count, *RECEIPT.unpack(_receive_exactly(connection, RECEIPT.size)))


def _stream(port: int, direction: bytes, streams: int, count: int) -> Streamed:
    """``streams`` streams of ``count`` bytes each, at once."""
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(port)) for _ in range(streams)]
        for connection in connections:
            connection.settimeout(None)  # the driver knows how long this may take
        pool = stack.enter_context(ThreadPoolExecutor(streams))
        each = list(
            pool.map(
                lambda number: _run_stream(connections[number], direction, number, count),
                range(streams),
            )
        )
    return Streamed(
        sum(one.count for one in each),
        min(one.first for one in each),
        max(one.last for one in each),
        all(one.right for one in each),
    )


def _serve() -> None:
    """Serve until killed: echoes here, each stream in a thread."""
    selector = selectors.DefaultSelector()
    port = 0
    for family, host in ((socket.AF_INET, LOCALHOST), (socket.AF_INET6, "::1")):
        with suppress(OSError):  # there may be no IPv6
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
            port = listener.getsockname()[1]
            selector.register(listener, selectors.EVENT_READ, partial(_accept, selector, listener))
    print(port, flush=True)
    while True:
        for key, _ in selector.select():
            key.data()


def _accept(selector: selectors.BaseSelector, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    selector.register(connection, selectors.EVENT_READ, partial(_answer, selector, connection))


def _answer(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    try:
        data = connection.recv(1)
    except OSError:
        data = b""
    if data == ECHO:
        with suppress(OSError):
            connection.send(data)
        return
    selector.unregister(connection)
    if data in (THERE, BACK):
        threading.Thread(target=_serve_stream, args=(connection, data), daemon=True).start()
    else:
        connection.close()


def _main(words: list[str]) -> None:
    if not words:
        _serve()
    port, direction, streams, count = words
    chosen = {"there": THERE, "back": BACK}[direction]
    print(json.dumps(asdict(_stream(int(port), chosen, int(streams), int(count)))))


if __name__ == "__main__":
    _main(sys.argv[1:])
