"""The driver: somebody at a web terminal, of whichever kind.

One code for every server, on blocking sockets, without trioet's own client and without a
library of WebSockets. What it sends is masked with zeros, as a client has to mask, so that it
costs the driver nothing.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
from base64 import b64decode, b64encode
from typing import Final, Protocol

from bench.terminal import COLUMNS, ROWS, BenchError
from trioet.link.resumable import ACK_EVERY
from trioet.session.credit import TERMINAL, Debt
from trioet.wire.channels import ChannelCredit, encode_channel
from trioet.wire.framing import PacketSplitter, packet_frame
from trioet.wire.handshake import Handshake, State, connect_request_frame
from trioet.wire.messages import (
    LEFT,
    ConnectRequest,
    Exec,
    InitialPayload,
    SessionOver,
    WindowSize,
    decode_terminal_buffer,
    encode_count,
    encode_initial_payload,
    encode_session_over,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import PacketType, join_body, split_body
from trioet.wire.sealing import Direction, SealedBox

HOST: Final = "127.0.0.1"
PIECE: Final = 64 * 1024
PATIENCE_S: Final = 20
_PATIENCE: Final = struct.pack("ll", PATIENCE_S, 0)

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, 5.2)."""
_FIN: Final = 0x80
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)

FEATURES: Final = ("acks", "over", "exec", "channels", "quiet")
"""What the page offers, less what is of no account here."""

_addresses = itertools.count(1)


class Viewer(Protocol):
    """Somebody at a terminal."""

    def type(self, data: bytes) -> None:
        """Type something."""

    def read(self) -> list[bytes]:
        """Wait; return the output in each message that came by then, [] when that was all.

        Raises:
          BenchError: nothing comes.
        """

    def close(self) -> None:
        """Go away for good."""


def dial(port: int) -> socket.socket:
    """Connect, each time from another address: what one may do in a minute is limited."""
    number = next(_addresses)
    sock = socket.socket()
    try:
        # Python's own time-outs cost a call of poll(2) each time.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((f"127.1.{number >> 8 & 255}.{number & 255}", 0))
        sock.connect((HOST, port))
    except OSError as error:
        sock.close()
        raise BenchError(f"no connection: {error}") from error
    return sock


class WebSocket:
    """A connection after its handshake.

    Raises:
      BenchError: there is none to be had.
    """

    def __init__(self, port: int, subprotocol: str) -> None:
        self.ended = False
        self._sock = dial(port)
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {HOST}:{port}\r\nOrigin: http://{HOST}:{port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        self._sock.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self._recv()
            if not data:
                raise BenchError(f"no WebSocket: {answer[:200]!r}")
            answer += data
        said, _, self._pending = answer.partition(b"\r\n\r\n")
        if b" 101 " not in said.partition(b"\r\n")[0]:
            raise BenchError(f"no WebSocket: {said[:200]!r}")

    def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Send one message."""
        size = len(data)
        if size < 126:
            head = bytes((_FIN | opcode, _MASKED | size))
        elif size < 1 << 16:
            head = struct.pack(">BBH", _FIN | opcode, _MASKED | 126, size)
        else:
            head = struct.pack(">BBQ", _FIN | opcode, _MASKED | 127, size)
        self._sock.sendall(b"".join((head, _NO_MASK, data)))

    def receive(self) -> list[bytes]:
        """Wait; return the messages that came by then, [] at the end.

        Raises:
          BenchError: nothing comes.
        """
        messages: list[bytes] = []
        while not messages and not self.ended:
            if not self._pending or not self._take(messages):
                data = self._recv()
                self.ended = not data
                self._pending += data
                self._take(messages)
        return messages

    def close(self) -> None:
        """Close it without a word."""
        self._sock.close()

    def _recv(self) -> bytes:
        try:
            return self._sock.recv(PIECE)
        except BlockingIOError:
            raise BenchError(f"nothing came for {PATIENCE_S} s") from None
        except ConnectionResetError:
            return b""

    def _take(self, messages: list[bytes]) -> bool:
        """Take apart what is there; False if it is not even one frame."""
        pending, at, size = self._pending, 0, len(self._pending)
        while size - at >= 2:
            length, start = pending[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(pending[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(pending[at + 2 : at + 10], "big"), at + 10
            if start + length > size:
                break
            first, payload = pending[at], pending[start : start + length]
            at = start + length
            if first in (_FIN | TEXT, _FIN | BINARY):
                messages.append(payload)
            elif first == _FIN | PING:
                self.send(payload, PONG)
            elif first == _FIN | CLOSE:
                self.ended = True
            elif first != _FIN | PONG:
                raise BenchError(f"a frame that begins with {first:#x}")
        self._pending = pending[at:]
        return at > 0


class RawViewer:
    """Speaks nothing: bytes are bytes."""

    def __init__(self, port: int) -> None:
        self._sock = dial(port)

    def type(self, data: bytes) -> None:
        self._sock.sendall(data)

    def read(self) -> list[bytes]:
        try:
            data = self._sock.recv(PIECE)
        except BlockingIOError:
            raise BenchError(f"nothing came for {PATIENCE_S} s") from None
        return [data] if data else []

    def close(self) -> None:
        self._sock.close()


class WebttyViewer:
    """Speaks as GoTTY's page does."""

    def __init__(self, port: int) -> None:
        self._socket = WebSocket(port, "webtty")
        self._say(json.dumps({"Arguments": "", "AuthToken": ""}))
        self._say("3" + json.dumps({"columns": COLUMNS, "rows": ROWS}))

    def _say(self, text: str) -> None:
        self._socket.send(text.encode(), TEXT)

    def type(self, data: bytes) -> None:
        self._socket.send(b"1" + data, TEXT)

    def read(self) -> list[bytes]:
        return [
            b64decode(message[1:]) if message[:1] == b"1" else b""
            for message in self._socket.receive()
        ]

    def close(self) -> None:
        self._socket.close()


class TtyViewer:
    """Speaks as ttyd's page does."""

    def __init__(self, port: int) -> None:
        self._socket = WebSocket(port, "tty")
        hello = {"AuthToken": "", "columns": COLUMNS, "rows": ROWS}
        self._socket.send(json.dumps(hello).encode())

    def type(self, data: bytes) -> None:
        self._socket.send(b"0" + data)

    def read(self) -> list[bytes]:
        return [message[1:] if message[:1] == b"0" else b"" for message in self._socket.receive()]

    def close(self) -> None:
        self._socket.close()


class LinkViewer:
    """Speaks as trioet's page does: opens, counts and acknowledges every sealed packet."""

    def __init__(self, port: int) -> None:
        client_id, passkey = _ask_for_session(port)
        self._outward = SealedBox(passkey, Direction.CLIENT_TO_SERVER)
        self._inward = SealedBox(passkey, Direction.SERVER_TO_CLIENT)
        self._sent = self._received = self._owed = 0
        self._unsaid = b""
        self._debt = Debt()
        self._splitter = PacketSplitter()
        self._over = False
        self._socket = WebSocket(port, "trioet")
        self._socket.send(connect_request_frame(ConnectRequest(client_id)))
        self._handshake = Handshake.client()
        payload = InitialPayload(features=FEATURES, exec=Exec())
        self._say(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        self._say(PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(ROWS, COLUMNS)))
        self._flush()

    def type(self, data: bytes) -> None:
        self._say(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(data))
        self._flush()

    def _say(self, packet_type: int, payload: bytes) -> None:
        self._sent += 1
        sealed = self._outward.seal(self._sent, payload)
        self._unsaid += packet_frame(join_body(packet_type, sealed))

    def _flush(self) -> None:
        """What is said in one piece of work goes as one message, as the page does it."""
        if self._unsaid:
            said, self._unsaid = self._unsaid, b""
            self._socket.send(said)

    def read(self) -> list[bytes]:
        if self._over:
            return []
        outputs = [self._read_message(message) for message in self._socket.receive()]
        if self._owed >= ACK_EVERY or self._over:
            self._owed = 0
            self._say(PacketType.KEEP_ALIVE, encode_count(self._received))
        self._flush()
        return outputs

    def _read_message(self, message: bytes) -> bytes:
        if not self._answered:
            self._handshake.feed(message)
            if self._handshake.state is State.REFUSED:
                raise BenchError("the session is refused")
            if not self._answered:
                return b""
            message = self._handshake.rest()
        return b"".join(self._open(body) for body in self._splitter.feed(message))

    @property
    def _answered(self) -> bool:
        return self._handshake.state is State.PACKETS

    def _open(self, body: bytes) -> bytes:
        packet_type, sealed = split_body(body)
        payload = self._inward.open(self._received + 1, sealed)
        self._received += 1
        self._owed += len(body)
        if packet_type == PacketType.SESSION_OVER:
            self._over = True
        if packet_type != PacketType.TERMINAL_BUFFER:
            return b""
        output = decode_terminal_buffer(payload)
        if granted := self._debt.take(len(output)):
            credit = encode_channel(ChannelCredit(TERMINAL, granted))
            self._say(PacketType.CHANNEL, credit)
        return output

    def close(self) -> None:
        try:
            if not self._over:
                self._say(PacketType.SESSION_OVER, encode_session_over(SessionOver(reason=LEFT)))
                self._flush()
        except OSError:
            pass  # it went first
        self._socket.close()


def _ask_for_session(port: int) -> tuple[bytes, bytes]:
    """Return the id and the key of a new one.

    Raises:
      BenchError: there is none.
    """
    body = b'{"arguments": []}'
    head = (
        f"POST /api/session HTTP/1.1\r\nHost: {HOST}:{port}\r\nOrigin: http://{HOST}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with dial(port) as sock:
        sock.sendall(head.encode() + body)
        answer = b""
        while data := sock.recv(PIECE):
            answer += data
    said, _, text = answer.partition(b"\r\n\r\n")
    if b" 200 " not in said.partition(b"\r\n")[0]:
        raise BenchError(f"no session: {answer[:300]!r}")
    told = json.loads(text)
    return told["id"].encode(), told["passkey"].encode()
