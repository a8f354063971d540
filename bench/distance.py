"""A TCP proxy that makes its two ends lie apart: every byte arrives a while after it was sent."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final, Self

CHUNK: Final = 64 * 1024
LOOK_S: Final = 0.05
"""How often the thread looks whether it is to end, when nothing moves."""


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.under_way: deque[tuple[float, bytes]] = deque()
        """What is on its way, and when it arrives; b"" is the end."""


class Distance:
    """Forwards loopback connections to ``port``, ``one_way_s`` seconds later each way.

    A new one is accepted at once, and made three ways later: as long as it takes in TCP from a
    SYN to what the client says first.

    A context manager with a thread of its own. What is on its way is not bounded, and what
    arrives is taken at once by ends that are given little: for measuring small exchanges.
    """

    def __init__(self, port: int, one_way_s: float) -> None:
        self._target = ("127.0.0.1", port)
        self._one_way_s = one_way_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ways: list[_Way] = []
        self._coming: deque[tuple[float, socket.socket]] = deque()
        """Connections that are not made yet, and when they will be."""
        self._sockets: list[socket.socket] = [self._listener]
        self._selector = selectors.DefaultSelector()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._selector.close()
        for sock in self._sockets:
            sock.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)
            while self._coming and self._coming[0][0] <= time.monotonic():
                self._connect(self._coming.popleft()[1])
            for way in self._ways:
                self._arrive(way)

    def _patience(self) -> float:
        due = [way.under_way[0][0] for way in self._ways if way.under_way]
        due += [made_at for made_at, _ in self._coming]
        return max(0.0, min([*due, time.monotonic() + LOOK_S]) - time.monotonic())

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        self._sockets.append(near)
        self._coming.append((time.monotonic() + 3 * self._one_way_s, near))

    def _connect(self, near: socket.socket) -> None:
        far = socket.create_connection(self._target)
        self._sockets.append(far)
        with suppress(OSError):  # it was said a way ago, as soon as it could be
            far.sendall(near.recv(CHUNK, socket.MSG_DONTWAIT))
        for sock, other in ((near, far), (far, near)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way = _Way(sock, other)
            self._ways.append(way)
            self._selector.register(sock, selectors.EVENT_READ, way)

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(CHUNK)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(way.source)
        way.under_way.append((time.monotonic() + self._one_way_s, data))

    def _arrive(self, way: _Way) -> None:
        while way.under_way and way.under_way[0][0] <= time.monotonic():
            _, data = way.under_way.popleft()
            try:
                if data:
                    way.sink.sendall(data)
                else:
                    way.sink.shutdown(socket.SHUT_WR)
            except OSError:
                way.under_way.clear()
