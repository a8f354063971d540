"""Somebody on the path: carries one user's connections, and remembers what is said.

What crosses a network is no secret: from the bytes of a real client an attacker has its id
and something to replay. The siege looks here, too, whether a session had to reconnect.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from trioet.errors import PeerError
from trioet.wire.handshake import Handshake
from trioet.wire.messages import ConnectRequest

CHUNK: Final = 64 * 1024
RECORDED: Final = 64 * 1024
"""Bytes remembered of what a client says on one connection, from its first on."""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""struct linger that makes close(2) send RST, socket(7)."""


@dataclass(eq=False)
class _Way:
    """One direction of a connection: what is under way, and when it arrives."""

    source: socket.socket
    sink: socket.socket
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)


@dataclass(eq=False)
class _Carried:
    near: socket.socket
    far: socket.socket
    said: bytearray = field(default_factory=bytearray)
    ways: dict[socket.socket, _Way] = field(default_factory=dict)


class Wiretap:
    """Relays what connects to :attr:`port` to ``target``, in a thread of its own."""

    def __init__(self, target: int, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        """How long bytes take, each way."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._said: list[bytearray] = []
        self._carried: list[_Carried] = []
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._to_cut = self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._wake_in.send(b"!")
        self._thread.join()

    def recordings(self) -> list[bytes]:
        """What clients said on each connection that began with a ConnectRequest."""
        return [bytes(said) for said in list(self._said) if _request_in(bytes(said))]

    def client_id(self) -> str:
        """Whose connections these are; empty if nobody has said."""
        for said in self.recordings():
            if (request := _request_in(said)) is not None:
                return request.client_id.decode("ascii")
        return ""

    def cut(self) -> None:
        """Send RST to both ends of every connection, soon."""
        self._to_cut = True
        self._wake_in.send(b"!")

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        while not self._ended:
            for key, _ in self._selector.select(self._next_arrival()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    self._wake_out.recv(16)
                elif key.data in self._carried and isinstance(key.fileobj, socket.socket):
                    self._take(key.data, key.data.ways[key.fileobj])
            self._arrive()
            if self._to_cut:
                self._to_cut = False
                for carried in list(self._carried):
                    self._close(carried, reset=True)
        for carried in list(self._carried):
            self._close(carried)
        self._selector.close()
        for sock in (self._listener, self._wake_in, self._wake_out):
            sock.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        carried = _Carried(near, far)
        carried.ways = {near: _Way(near, far), far: _Way(far, near)}
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(sock, selectors.EVENT_READ, carried)
        self._carried.append(carried)
        self._said.append(carried.said)

    def _take(self, carried: _Carried, way: _Way) -> None:
        try:
            data = way.source.recv(CHUNK)
        except OSError:
            data = b""
        if way.source is carried.near and len(carried.said) < RECORDED:
            carried.said += data
        way.under_way.append((time.monotonic() + self.delay_s, data))
        if not data:
            self._selector.unregister(way.source)

    def _next_arrival(self) -> float | None:
        due = [
            way.under_way[0][0]
            for carried in self._carried
            for way in carried.ways.values()
            if way.under_way
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _arrive(self) -> None:
        now = time.monotonic()
        for carried in list(self._carried):
            for way in carried.ways.values():
                while carried in self._carried and way.under_way and way.under_way[0][0] <= now:
                    _, data = way.under_way.popleft()
                    try:
                        way.sink.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        self._close(carried)

    def _close(self, carried: _Carried, *, reset: bool = False) -> None:
        self._carried.remove(carried)
        for sock in (carried.near, carried.far):
            with suppress(KeyError):
                self._selector.unregister(sock)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            sock.close()


def _request_in(said: bytes) -> ConnectRequest | None:
    with suppress(PeerError):
        for event in Handshake.server().feed(said):
            if isinstance(event, ConnectRequest):
                return event
    return None
