"""The driver: a client of SCP, and one of plain TCP, that cost the same but for the handshake.

One code for every peer, on blocking sockets, without trioet's own client. What moves in bulk is
counted and not deciphered: the driver's RC4 would be measured with every server's.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import Final

from bench.scon_backend import DONE, DOWN, ORDER, PIECE, UP
from bench.terminal import BenchError
from trioet.wire.scon_handshake import (
    COUNT_MASK,
    Code,
    FrameReader,
    NewRequest,
    ResumeRequest,
    frame,
    parse_new_answer,
    parse_resume_answer,
)
from trioet.wire.scon_keys import PRIVATE_BITS, public_key, shared_secret
from trioet.wire.scon_streams import Arc4Inward, Arc4Keys, Arc4Outward

PATIENCE_S: Final = 20
_PATIENCE: Final = struct.pack("ll", PATIENCE_S, 0)
_RESET: Final = struct.pack("ii", 1, 0)


class Plain:
    """A connection that leads to a backend as it is, or through a proxy that knows no sessions."""

    def __init__(self, port: int, target: bytes = b"") -> None:
        self.port = port
        self.sock = self._connect()
        self.received = 0

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        # Python's own time-outs cost a call of poll(2) each time.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Thousands are closed one after the other: a reset leaves no port waiting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return sock

    def say(self, data: bytes) -> None:
        """Send bytes to the backend."""
        self.sock.sendall(self._seal(data))

    def hear(self, size: int) -> bytes:
        """So many bytes of the backend's.

        Raises:
          BenchError: they do not come.
        """
        return self._open(self._exactly(size))

    def _seal(self, data: bytes) -> bytes:
        return data

    def _open(self, data: bytes) -> bytes:
        return data

    def _exactly(self, size: int) -> bytes:
        got = self.sock.recv(size, socket.MSG_WAITALL)
        if len(got) < size:
            raise BenchError("a session ended early")
        self.received += size
        return got

    def echo(self, data: bytes) -> float:
        """Send to the echo; return the seconds until it was all back.

        Raises:
          BenchError: something else came.
        """
        begun = time.perf_counter()
        self.say(data)
        if self.hear(len(data)) != data:
            raise BenchError("an echo came back damaged")
        return time.perf_counter() - begun

    def order(self, direction: bytes, size: int) -> None:
        """Tell the bulk backend what will be wanted."""
        self.say(ORDER.pack(direction, size))

    def move(self, direction: bytes, size: int) -> None:
        """Move what was ordered.

        Raises:
          BenchError: it does not arrive.
        """
        buffer = memoryview(bytearray(PIECE))
        if direction == UP:
            while size:
                size -= self.sock.send(buffer[: min(size, PIECE)])
            self._exactly(len(DONE))
            return
        assert direction == DOWN
        while size:
            count = self.sock.recv_into(buffer)
            if not count:
                raise BenchError("a stream ended early")
            size -= count

    def close(self) -> None:
        """Go away. An SCP server waits for us."""
        self.sock.close()


class Scp(Plain):
    """A session."""

    def __init__(self, port: int, target: bytes = b"") -> None:
        super().__init__(port)
        private = secrets.randbelow(2**PRIVATE_BITS - 1) + 1
        answer = parse_new_answer(self._ask(NewRequest(public_key(private), target).text()))
        secret = shared_secret(private, answer.public)
        self._id = answer.session_id
        self._index = 0
        self._keys = Arc4Keys(secret)
        self._outward, self._inward = Arc4Outward(secret), Arc4Inward(secret)

    def _seal(self, data: bytes) -> bytes:
        return self._outward.seal(data)

    def _open(self, data: bytes) -> bytes:
        return self._inward.open(data)

    def _ask(self, text: bytes) -> bytes:
        self.sock.sendall(frame(text))
        reader = FrameReader()
        answer = None
        while answer is None:
            data = self.sock.recv(reader.wanted)
            if not data:
                raise BenchError("a server closed instead of answering")
            answer = reader.feed(data)
        return answer

    def resume(self) -> float:
        """Go on with the session on another connection, as one that lacks the last byte it got.

        Returns the seconds from connecting until that byte was there.

        Raises:
          BenchError: the server does not grant it, or replays something else.
        """
        before, self._index = self.sock, self._index + 1
        begun = time.perf_counter()
        self.sock = self._connect()
        lacking = (self.received - 1) & COUNT_MASK
        request = ResumeRequest(self._id, self._index, lacking)
        signed = ResumeRequest(self._id, self._index, lacking, self._keys.sign(request))
        answer = parse_resume_answer(self._ask(signed.text()))
        if answer.code != Code.OK:
            raise BenchError(f"a resume was answered {answer.code}")
        if len(self.sock.recv(1)) != 1:
            raise BenchError("nothing was replayed")
        took = time.perf_counter() - begun
        before.close()
        return took
