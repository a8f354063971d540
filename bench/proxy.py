"""A TCP proxy that can make the network go away, in the two ways networks do."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

CHUNK: Final = 64 * 1024
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""struct linger that makes close(2) send RST, socket(7)."""


@dataclass
class _Pair:
    """Two sockets of one proxied connection; ``outgoing`` is what each has yet to be sent."""

    near: socket.socket
    far: socket.socket
    outgoing: dict[socket.socket, bytearray] = field(default_factory=dict)

    def other(self, sock: socket.socket) -> socket.socket:
        return self.far if sock is self.near else self.near


class Proxy:
    """Forwards loopback connections to ``port``. A context manager with a thread of its own.

    A blackout is what the two ends see when a router in between stops: connections are
    still accepted, as a SYN would lie in some queue, and nothing is forwarded; all that
    was sent meanwhile arrives when it is over.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[_Pair] = []
        self._dark = False
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._orders: list[Callable[[], None]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._order(self._end)
        self._thread.join()

    def black_out(self) -> None:
        """Forward nothing from now on. Returns when that is so."""
        self._order(lambda: self._set_dark(True))

    def resume(self) -> None:
        """Forward again, beginning with what waited."""
        self._order(lambda: self._set_dark(False))

    def reset(self) -> None:
        """Send RST to both ends of every connection, and accept new ones."""
        self._order(self._reset)

    def _order(self, order: Callable[[], None]) -> None:
        self._done.clear()
        self._orders.append(order)
        self._wake_in.send(b"!")
        self._done.wait()

    def _run(self) -> None:
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._ended:
            for key, events in self._selector.select():
                if key.fileobj is self._wake_out:
                    self._wake_out.recv(16)
                    self._orders.pop()()
                    self._done.set()
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Pair) and isinstance(key.fileobj, socket.socket):
                    self._forward(key.data, key.fileobj, events)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        pair = _Pair(near, far)
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            pair.outgoing[sock] = bytearray()
            self._selector.register(sock, selectors.EVENT_READ, pair)
        self._pairs.append(pair)

    def _forward(self, pair: _Pair, sock: socket.socket, events: int) -> None:
        if pair not in self._pairs or self._dark:
            return
        try:
            if events & selectors.EVENT_READ:
                data = sock.recv(CHUNK)
                if not data:
                    self._close(pair)
                    return
                pair.outgoing[pair.other(sock)] += data
            for end in (pair.near, pair.far):
                self._flush(pair, end)
        except OSError:
            self._close(pair)

    def _flush(self, pair: _Pair, sock: socket.socket) -> None:
        waiting = pair.outgoing[sock]
        with suppress(BlockingIOError):
            while waiting:
                del waiting[: sock.send(waiting)]
        # Read from one end only while the other has taken what we read before.
        self._watch(sock, pair)
        self._watch(pair.other(sock), pair)

    def _watch(self, sock: socket.socket, pair: _Pair) -> None:
        events = 0
        if not pair.outgoing[pair.other(sock)]:
            events |= selectors.EVENT_READ
        if pair.outgoing[sock]:
            events |= selectors.EVENT_WRITE
        known = sock in self._selector.get_map()
        if self._dark or not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, pair)
        else:
            self._selector.register(sock, events, pair)

    def _set_dark(self, dark: bool) -> None:
        self._dark = dark
        if dark:
            self._selector.unregister(self._listener)
        else:
            self._selector.register(self._listener, selectors.EVENT_READ)
        for pair in self._pairs:
            self._watch(pair.near, pair)
            self._watch(pair.far, pair)

    def _reset(self) -> None:
        for pair in list(self._pairs):
            for sock in (pair.near, pair.far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._close(pair)

    def _close(self, pair: _Pair) -> None:
        self._pairs.remove(pair)
        for sock in (pair.near, pair.far):
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close()

    def _end(self) -> None:
        self._ended = True
        for pair in list(self._pairs):
            self._close(pair)
        self._selector.close()
        for sock in (self._listener, self._wake_in, self._wake_out):
            sock.close()
