"""What the two ends of an eternal stream say to each other, in packets of type STREAM.

One byte says what it is; the rest depends on that. The type of a packet travels unsealed, so a
packet must not make sense under another one: the byte is never 0, as the first of a KEEP_ALIVE's
count always is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from trioet.errors import MessageError

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes of one message in packet form."""

MESSAGE_COST: Final = 128
"""Credit that a message takes besides its bytes: what CPython takes to keep a small one."""


class Kind(IntEnum):
    """The first byte."""

    DATA = 1
    MESSAGE = 2
    END = 3
    CLOSED = 4
    CREDIT = 5
    ANSWER = 6
    PART = 7


@dataclass(frozen=True, slots=True)
class Data:
    """The next bytes of the stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """The next message of the packet form, or its last part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a message, or more of it; what follows belongs to it, too.

    A packet must come whole over one connection, so nothing long is put into one.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """No more bytes and messages will come."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The last that the sender says; it reads nothing any more.

    ``aborted``: it ended before it had said all that it meant to.
    """

    aborted: bool = False


@dataclass(frozen=True, slots=True)
class Credit:
    """So much more may be sent: bytes of data, and of messages with MESSAGE_COST for each."""

    amount: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Acknowledge all that came so far, at once."""


StreamMessage: TypeAlias = Data | Message | Part | End | Closed | Credit | Answer

_CREDIT_SIZE: Final = 8


def encode_data(data: bytes | memoryview) -> bytes:
    """Data, which is most of what is said."""
    return b"\x01" + data


def encode_stream_message(message: StreamMessage) -> bytes:
    match message:
        case Data(data):
            return encode_data(data)
        case Message(data):
            return bytes((Kind.MESSAGE,)) + data
        case Part(data):
            return bytes((Kind.PART,)) + data
        case End():
            return bytes((Kind.END,))
        case Closed(aborted):
            return bytes((Kind.CLOSED, aborted))
        case Credit(amount):
            return bytes((Kind.CREDIT,)) + amount.to_bytes(_CREDIT_SIZE, "big")
        case _:
            return bytes((Kind.ANSWER,))


def decode_stream_message(payload: bytes) -> StreamMessage:
    """Parse the payload of a STREAM packet.

    Raises:
      MessageError: it is none that a trioet sends.
    """
    kind, rest = payload[:1], payload[1:]
    match kind:
        case b"\x01":
            return Data(rest)
        case b"\x02" if len(rest) <= MAX_MESSAGE:
            return Message(rest)
        case b"\x03" if not rest:
            return End()
        case b"\x04" if rest in (b"\0", b"\1"):
            return Closed(rest == b"\1")
        case b"\x05" if len(rest) == _CREDIT_SIZE:
            return Credit(int.from_bytes(rest, "big"))
        case b"\x06" if not rest:
            return Answer()
        case b"\x07" if 0 < len(rest) <= MAX_MESSAGE:
            return Part(rest)
        case _:
            raise MessageError(f"{len(payload)} bytes that are no message of a stream")
