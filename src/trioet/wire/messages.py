"""The messages of the protocol as frozen dataclasses, to and from protobuf.

With forward_messages.py the only module that knows the generated code. Field numbers and
presence rules are Eternal Terminal's (specification 1.2); what trioet adds travels in
fields from 1000 up, which other implementations ignore. Text is bytes throughout: peers
may send names and errors that are not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from trioet.errors import MessageError
from trioet.wire.forward import Forward
from trioet.wire.forward_messages import (
    Listen,
    fill_listen,
    fill_reverse_tunnel,
    read_listen,
    read_reverse_tunnels,
)
from trioet.wire.pb import ET_pb2, ETerminal_pb2, trioet_pb2
from trioet.wire.protobuf import parse

PROTOCOL_VERSION: Final = 6

MAX_SIZE: Final = 10_000
"""Rows or columns of a terminal; more is nonsense that ET sends for a stdout that is no
terminal (specification 4.2)."""

STDERR_MARK: Final = b"E"
SIZE_MARK: Final = b"W"
NOTICE_MARK: Final = b"N"
END_OF_INPUT: Final = b"end of input"
"""Payload of STDIN_EOF."""

LEFT: Final = "left"
"""Reason of a SESSION_OVER that a client sends: its user left for good."""


class ConnectStatus(IntEnum):
    """The server's answer to a ConnectRequest (specification 1.3)."""

    NEW_CLIENT = 1
    RETURNING_CLIENT = 2
    INVALID_KEY = 3
    MISMATCHED_PROTOCOL = 4


@dataclass(frozen=True, slots=True)
class Introduction:
    """A public key for one session, and the proof that its sender holds the pre-shared key."""

    public_key: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The first message on every connection: who returns, in which protocol version.

    ``relay``: the id is a relay's, to be passed like a proxy; a request for whoever is
    behind it follows. ``introduction``: nobody knows the id yet; its session begins here.
    """

    client_id: bytes
    version: int = PROTOCOL_VERSION
    relay: bool = False
    introduction: Introduction | None = None


@dataclass(frozen=True, slots=True)
class ConnectResponse:
    """The server's answer. ``error`` is text for the user, empty when there is none."""

    status: ConnectStatus
    error: bytes = b""


@dataclass(frozen=True, slots=True)
class RelayFailure:
    """A relay's answer when it cannot connect onward; when it can, it never answers.

    A ConnectResponse without a status, so that nobody takes it for a word of the server's.
    ``relay`` is the relay's id. ``unknown``: nobody has it any more. ``refused``: nobody
    listens where it leads.
    """

    relay: bytes
    reason: bytes = b""
    unknown: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class WindowSize:
    """Size of a terminal in character cells, and in pixels where known."""

    rows: int
    columns: int
    xpixel: int = 0
    ypixel: int = 0


@dataclass(frozen=True, slots=True)
class Exec:
    """What to run instead of a login shell on a terminal.

    ``command`` goes to the user's shell as ``-c``; None is the login shell itself.
    ``pty`` False runs it on pipes, 8-bit clean, with a stderr of its own. ``nothing``
    runs nothing: the session is there for its tunnels.
    """

    command: bytes | None = None
    pty: bool = True
    nothing: bool = False


@dataclass(frozen=True, slots=True)
class InitialPayload:
    """The first packet of a client: what the session shall be.

    ``features``, ``exec`` and ``listens`` are trioet's offer; a C++ server ignores them, and
    a trioet server ``reverse_tunnels`` if it takes the ``listens``. With ``listens_required``
    nothing is run unless it has all of them.
    """

    environment: Mapping[bytes, bytes] = field(default_factory=dict)
    jumphost: bool = False
    reverse_tunnels: tuple[Forward, ...] = ()
    features: tuple[str, ...] = ()
    exec: Exec | None = None
    listens: tuple[Listen, ...] = ()
    listens_required: bool = False


@dataclass(frozen=True, slots=True)
class InitialResponse:
    """The first packet of a server. A non-empty ``error`` refuses the session."""

    error: bytes = b""
    accepted: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class SessionOver:
    """The last packet of a session: how its command ended, or why there is no command."""

    status: int | None = None
    signal: int | None = None
    reason: str = ""


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def encode_connect_request(request: ConnectRequest) -> bytes:
    message = ET_pb2.ConnectRequest(client_id=request.client_id, version=request.version)
    if request.relay:
        message.relay = True
    if request.introduction is not None:
        _fill_introduction(message.introduction, request.introduction)
    return message.SerializeToString()


def decode_connect_request(data: bytes) -> ConnectRequest:
    """Parse a ConnectRequest; an absent version reads as 0, as in C++ (1.4).

    Raises:
      MessageError: not a ConnectRequest.
    """
    message = parse(ET_pb2.ConnectRequest(), data)
    return ConnectRequest(
        message.client_id, message.version, message.relay, _read_introduction(message)
    )


def _fill_introduction(message: trioet_pb2.Introduction, introduction: Introduction) -> None:
    message.public_key = introduction.public_key
    message.proof = introduction.proof


def _read_introduction(
    message: ET_pb2.ConnectRequest | ET_pb2.ConnectResponse,
) -> Introduction | None:
    if not message.HasField("introduction"):
        return None
    return Introduction(message.introduction.public_key, message.introduction.proof)


def encode_connect_response(response: ConnectResponse) -> bytes:
    message = ET_pb2.ConnectResponse(status=response.status.name)
    if response.error:
        message.error = response.error
    return message.SerializeToString()


def decode_connect_response(data: bytes) -> ConnectResponse:
    """Parse a ConnectResponse.

    Raises:
      MessageError: not a ConnectResponse, or without one of the four statuses.
    """
    message = parse(ET_pb2.ConnectResponse(), data)
    if not message.HasField("status"):
        raise MessageError("a ConnectResponse without a status")
    return ConnectResponse(ConnectStatus(message.status), message.error)


def encode_introduction_answer(introduction: Introduction) -> bytes:
    message = ET_pb2.ConnectResponse()
    _fill_introduction(message.introduction, introduction)
    return message.SerializeToString()


def decode_introduction_answer(data: bytes) -> Introduction | ConnectResponse:
    """Read the answer to a ConnectRequest with an introduction; a ConnectResponse refuses.

    Raises:
      MessageError: neither of them.
    """
    message = parse(ET_pb2.ConnectResponse(), data)
    return _read_introduction(message) or decode_connect_response(data)


def encode_relay_failure(failure: RelayFailure) -> bytes:
    message = ET_pb2.ConnectResponse()
    message.relay_failure.relay = failure.relay
    if failure.reason:
        message.relay_failure.reason = failure.reason
    if failure.unknown:
        message.relay_failure.unknown = True
    if failure.refused:
        message.relay_failure.refused = True
    return message.SerializeToString()


def decode_relay_failure(data: bytes) -> RelayFailure | None:
    """Read a ConnectResponse that may be a relay's; None when a server answered.

    Raises:
      MessageError: not a ConnectResponse.
    """
    message = parse(ET_pb2.ConnectResponse(), data)
    if not message.HasField("relay_failure"):
        return None
    found = message.relay_failure
    return RelayFailure(found.relay, found.reason, found.unknown, found.refused)


def encode_sequence_header(count: int) -> bytes:
    return ET_pb2.SequenceHeader(sequence_number=count).SerializeToString()


def decode_sequence_header(data: bytes) -> int:
    """Return how many packets the sender has received (1.8).

    Raises:
      MessageError: not a SequenceHeader, or a negative count: more than 2**31 - 1
          packets, after which a session cannot resume (1.7).
    """
    count: int = parse(ET_pb2.SequenceHeader(), data).sequence_number
    if count < 0:
        raise MessageError(f"sequence number {count} is negative")
    return count


def encode_terminal_buffer(data: bytes) -> bytes:
    return ETerminal_pb2.TerminalBuffer(buffer=data).SerializeToString()


def decode_terminal_buffer(payload: bytes) -> bytes:
    """Return the bytes typed, or printed.

    The type of a packet travels unsealed: whoever changes it on its way must not make
    another message pass for this one. So what has a field more or none is refused.

    Raises:
      MessageError: not a TerminalBuffer, or not only that.
    """
    message = parse(ETerminal_pb2.TerminalBuffer(), payload)
    data: bytes = message.buffer
    if not message.HasField("buffer") or len(payload) != len(data) + 1 + _varint_size(len(data)):
        raise MessageError(f"{len(payload)} bytes that are not only a TerminalBuffer")
    return data


def _varint_size(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


def encode_stderr(data: bytes) -> bytes:
    """What a command on pipes says on stderr; can be taken for no other message."""
    return STDERR_MARK + data


def decode_stderr(payload: bytes) -> bytes:
    """Return what was said on stderr.

    Raises:
      MessageError: something else was.
    """
    if not payload.startswith(STDERR_MARK):
        raise MessageError("a STDERR without its mark")
    return payload[len(STDERR_MARK) :]


def encode_terminal_info(size: WindowSize) -> bytes:
    message = ETerminal_pb2.TerminalInfo(
        row=size.rows, column=size.columns, width=size.xpixel, height=size.ypixel
    )
    return message.SerializeToString()


def decode_terminal_info(payload: bytes) -> WindowSize | None:
    """Return the size of the client's terminal; None when it is nonsense.

    Raises:
      MessageError: not a TerminalInfo, or one without rows and columns.
    """
    message = parse(ETerminal_pb2.TerminalInfo(), payload)
    if not (message.HasField("row") and message.HasField("column")):
        raise MessageError("a TerminalInfo without a size")
    if not (0 < message.row <= MAX_SIZE and 0 < message.column <= MAX_SIZE):
        return None
    pixels = [value if 0 <= value < 2**16 else 0 for value in (message.width, message.height)]
    return WindowSize(message.row, message.column, *pixels)


def encode_size(size: WindowSize) -> bytes:
    """The size of the terminal that somebody looks on at; can be taken for no other message."""
    return SIZE_MARK + size.rows.to_bytes(2, "big") + size.columns.to_bytes(2, "big")


def decode_size(payload: bytes) -> WindowSize:
    """Return the size of the terminal.

    Raises:
      MessageError: not a size, or nonsense.
    """
    size = WindowSize(int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big"))
    if not payload.startswith(SIZE_MARK) or len(payload) != 5:
        raise MessageError("a SIZE with something else in it")
    if not (0 < size.rows <= MAX_SIZE and 0 < size.columns <= MAX_SIZE):
        raise MessageError(f"a terminal of {size.rows} rows and {size.columns} columns")
    return size


def encode_notice(text: str) -> bytes:
    """A line for the user that no program wrote; can be taken for no other message."""
    return NOTICE_MARK + text.encode(errors="replace")


def decode_notice(payload: bytes) -> str:
    """Return the line.

    Raises:
      MessageError: there is none.
    """
    if not payload.startswith(NOTICE_MARK):
        raise MessageError("a NOTICE without its mark")
    return _text(payload[len(NOTICE_MARK) :])


def encode_initial_payload(payload: InitialPayload) -> bytes:
    message = ETerminal_pb2.InitialPayload(jumphost=payload.jumphost)
    for key, value in payload.environment.items():
        message.environmentvariables.add(key=key, value=value)
    for forward in payload.reverse_tunnels:
        fill_reverse_tunnel(message.reversetunnels.add(), forward)
    if payload.features:
        message.offer.features.extend(name.encode() for name in payload.features)
    if payload.exec is not None:
        message.offer.exec.pty = payload.exec.pty
        if payload.exec.command is not None:
            message.offer.exec.command = payload.exec.command
        if payload.exec.nothing:
            message.offer.exec.nothing = True
    for listen in payload.listens:
        fill_listen(message.offer.listens.add(), listen)
    if payload.listens_required:
        message.offer.listens_required = True
    return message.SerializeToString()


def beyond_jumphost(payload: bytes) -> bytes:
    """The InitialPayload of a client, as a jumphost passes it on: no longer for a jumphost.

    What comes last holds in protobuf, so all else stays as it is to the byte: fields that we
    do not know, and the text that the same key and nonce seal on both legs.
    """
    return payload + ETerminal_pb2.InitialPayload(jumphost=False).SerializeToString()


def decode_initial_payload(data: bytes) -> InitialPayload:
    """Parse the first packet of a client.

    Raises:
      MessageError: not an InitialPayload, or with a tunnel that makes no sense.
    """
    message = parse(ETerminal_pb2.InitialPayload(), data)
    wish = None
    if message.offer.HasField("exec"):
        asked = message.offer.exec
        wish = Exec(asked.command if asked.HasField("command") else None, asked.pty, asked.nothing)
    return InitialPayload(
        environment={entry.key: entry.value for entry in message.environmentvariables},
        jumphost=message.jumphost,
        reverse_tunnels=read_reverse_tunnels(message.reversetunnels),
        features=tuple(map(_text, message.offer.features)),
        exec=wish,
        listens=tuple(map(read_listen, message.offer.listens)),
        listens_required=message.offer.listens_required,
    )


def encode_initial_response(response: InitialResponse) -> bytes:
    message = ETerminal_pb2.InitialResponse()
    if response.error:
        message.error = response.error
    if response.accepted or response.version:
        message.accepted.features.extend(name.encode() for name in response.accepted)
        message.accepted.version = response.version.encode()
    return message.SerializeToString()


def decode_initial_response(data: bytes) -> InitialResponse:
    """Parse the first packet of a server.

    Raises:
      MessageError: not an InitialResponse.
    """
    message = parse(ETerminal_pb2.InitialResponse(), data)
    accepted = message.accepted
    return InitialResponse(
        message.error, tuple(map(_text, accepted.features)), _text(accepted.version)
    )


def encode_session_over(over: SessionOver) -> bytes:
    message = trioet_pb2.SessionOver()
    if over.status is not None:
        message.status = over.status
    if over.signal is not None:
        message.signal = over.signal
    if over.reason:
        message.reason = over.reason.encode()
    return message.SerializeToString()


def decode_session_over(data: bytes) -> SessionOver:
    """Parse the last packet of a session.

    Raises:
      MessageError: not a SessionOver, or one that says nothing.
    """
    message = parse(trioet_pb2.SessionOver(), data)
    if not message.ListFields():
        raise MessageError("a SessionOver that does not say how")
    return SessionOver(
        message.status if message.HasField("status") else None,
        message.signal if message.HasField("signal") else None,
        _text(message.reason),
    )


def encode_count(count: int) -> bytes:
    """Payload of a KEEP_ALIVE that acknowledges ``count`` packets, 8 bytes big-endian."""
    return count.to_bytes(8, "big")


def decode_count(payload: bytes) -> int | None:
    """The count that a KEEP_ALIVE acknowledges; None for a peer that sends none."""
    return int.from_bytes(payload, "big") if len(payload) == 8 else None
