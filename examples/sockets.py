"""An eternal stream without Trio: trioet.wire and blocking sockets (docs/library.md).

sockets.py HOST PORT: send each line of stdin to an echoing server, print what comes back. The
pre-shared key is in the environment, TRIOET_PSK.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from contextlib import suppress

from trioet.errors import PeerError
from trioet.wire.embedding import EternalClient


class Stream:
    """One that blocks, and connects again as often as it must."""

    def __init__(self, host: str, port: int, psk: bytes) -> None:
        self._place = host, port
        self._psk = psk
        self._sock = socket.socket()
        self._client = EternalClient(psk, b"")
        while not self._client.introduced:
            self._client = EternalClient(psk, secrets.token_hex(8).encode())
            self._connect()
            self._receive()

    def send(self, data: bytes) -> None:
        """Return when all was sent, or is kept for the next connection."""
        while data:
            taken = self._client.send(data)
            data = data[taken:]
            self._flush()
            if not taken:
                self.inbox += self._receive()

    inbox = b""
    """What came while something else was waited for."""

    def receive(self) -> bytes:
        """Return some bytes, b"" at the end."""
        while not self.inbox and not self._client.ended:
            self.inbox += self._receive()
        data, self.inbox = self.inbox, b""
        return data

    def close(self) -> None:
        """Return when the server has everything."""
        self._client.close()
        self._flush()
        while not self._client.over:
            self._receive()
        self._sock.close()

    def _receive(self) -> bytes:
        try:
            if data := self._sock.recv(65536):
                received = self._client.receive_data(data)
                self._flush()
                return received
        except (OSError, PeerError):
            pass
        if self._client.introduced:
            self._connect()
        return b""

    def _flush(self) -> None:
        with suppress(OSError):  # who receives will notice
            self._sock.sendall(self._client.data_to_send())

    def _connect(self) -> None:
        while True:
            self._sock.close()
            try:
                self._sock = socket.create_connection(self._place)
                break
            except OSError:
                time.sleep(0.05)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.connected()
        self._flush()


if __name__ == "__main__":
    stream = Stream(sys.argv[1], int(sys.argv[2]), os.environb[b"TRIOET_PSK"])
    for line in sys.stdin.buffer:
        stream.send(line)
        answer = b""
        while len(answer) < len(line):
            answer += stream.receive()
        sys.stdout.buffer.write(answer)
    stream.close()
