"""What two trioets say of their channels: the payloads of CHANNEL packets.

A channel is one forwarded connection. Its number is the opener's to choose, odd for the
client and even for the server, and is never used again in the session.

A payload is one byte for its kind, eight for the channel's number, and the rest. The low
three bits of the kind are set, and no protobuf message begins so: a packet whose type was
changed on its way can be taken for no other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from trioet.errors import MessageError
from trioet.wire.forward import Endpoint
from trioet.wire.forward_messages import (
    Listen,
    Listening,
    decode_channel_open,
    decode_listen,
    decode_listening,
    encode_channel_open,
    encode_listen,
    encode_listening,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.reach import Failure

HEAD: Final = struct.Struct(">BQ")
CREDIT: Final = struct.Struct(">Q")


class Kind(IntEnum):
    """First byte of a payload."""

    OPEN = 0x07
    OPENED = 0x0F
    REFUSED = 0x17
    DATA = 0x1F
    CREDIT = 0x27
    END = 0x2F
    RESET = 0x37
    LISTEN = 0x3F
    LISTENING = 0x47
    UNLISTEN = 0x4F


class ChannelOpen(NamedTuple):
    """Somebody connected to a tunnel.

    ``listen`` is the number of the client's Listen that it came of, 0 for a tunnel of the
    opener's own; ``destination`` is None where the Listen says where it leads.
    """

    channel: int
    listen: int
    destination: Endpoint | None
    credit: int
    datagrams: bool = False


class ChannelOpened(NamedTuple):
    """The destination is connected."""

    channel: int
    credit: int


class ChannelRefused(NamedTuple):
    """The destination cannot be reached: the channel never was."""

    channel: int
    why: Failure
    text: str


class ChannelData(NamedTuple):
    """Bytes of a stream, or one datagram."""

    channel: int
    data: bytes | memoryview


class ChannelCredit(NamedTuple):
    """So many bytes more may be sent."""

    channel: int
    amount: int


class ChannelEnd(NamedTuple):
    """Nothing more comes from this side; the other may go on."""

    channel: int


class ChannelReset(NamedTuple):
    """The channel is gone, with all that is still on its way."""

    channel: int


class Unlisten(NamedTuple):
    """Listen no longer; the channels that are there stay."""

    number: int


ChannelMessage = (
    ChannelOpen
    | ChannelOpened
    | ChannelRefused
    | ChannelData
    | ChannelCredit
    | ChannelEnd
    | ChannelReset
    | Listen
    | Listening
    | Unlisten
)


def encode_channel(message: ChannelMessage) -> bytes:
    """The payload of a CHANNEL packet."""
    match message:
        case ChannelData(channel, data):
            return b"".join((HEAD.pack(Kind.DATA, channel), data))
        case ChannelCredit(channel, amount):
            return HEAD.pack(Kind.CREDIT, channel) + CREDIT.pack(amount)
        case ChannelOpen(channel, listen, destination, credit, datagrams):
            opening = encode_channel_open(listen, destination, credit, datagrams)
            return HEAD.pack(Kind.OPEN, channel) + opening
        case ChannelOpened(channel, credit):
            return HEAD.pack(Kind.OPENED, channel) + CREDIT.pack(credit)
        case ChannelRefused(channel, why, text):
            return HEAD.pack(Kind.REFUSED, channel) + bytes([why]) + text.encode(errors="replace")
        case ChannelEnd(channel):
            return HEAD.pack(Kind.END, channel)
        case ChannelReset(channel):
            return HEAD.pack(Kind.RESET, channel)
        case Listen(number):
            return HEAD.pack(Kind.LISTEN, number) + encode_listen(message)
        case Listening(number):
            return HEAD.pack(Kind.LISTENING, number) + encode_listening(message)
        case _:
            return HEAD.pack(Kind.UNLISTEN, message.number)


def decode_channel(payload: bytes) -> ChannelMessage:
    """Parse the payload of a CHANNEL packet.

    Raises:
      MessageError: it is none, or has too much or too little in it.
    """
    if len(payload) < HEAD.size:
        raise MessageError(f"a CHANNEL of {len(payload)} bytes; at least {HEAD.size} needed")
    kind, channel = HEAD.unpack_from(payload)
    if kind == Kind.DATA:
        return ChannelData(channel, memoryview(payload)[HEAD.size :])
    try:
        decode = _DECODERS[kind]
    except KeyError:
        raise MessageError(f"a CHANNEL of the unknown kind {kind}") from None
    return decode(channel, payload[HEAD.size :])


def _decode_open(channel: int, body: bytes) -> ChannelMessage:
    listen, destination, credit, datagrams = decode_channel_open(body)
    return ChannelOpen(channel, listen, destination, credit, datagrams)


def _decode_refused(channel: int, body: bytes) -> ChannelMessage:
    try:
        why = Failure(body[0])
    except (IndexError, ValueError):
        why = Failure.GENERAL  # what a later version may say
    return ChannelRefused(channel, why, body[1:].decode(errors="replace"))


def _amount(body: bytes) -> int:
    if len(body) != CREDIT.size:
        raise MessageError(f"{len(body)} bytes that are no credit")
    amount: int = CREDIT.unpack(body)[0]
    return amount


def _nothing(body: bytes) -> None:
    if body:
        raise MessageError(f"a CHANNEL with {len(body)} bytes too many")


def _decode_end(channel: int, body: bytes) -> ChannelMessage:
    _nothing(body)
    return ChannelEnd(channel)


def _decode_reset(channel: int, body: bytes) -> ChannelMessage:
    _nothing(body)
    return ChannelReset(channel)


def _decode_unlisten(number: int, body: bytes) -> ChannelMessage:
    _nothing(body)
    return Unlisten(number)


_DECODERS: Final[dict[int, Callable[[int, bytes], ChannelMessage]]] = {
    Kind.OPEN: _decode_open,
    Kind.OPENED: lambda channel, body: ChannelOpened(channel, _amount(body)),
    Kind.REFUSED: _decode_refused,
    Kind.CREDIT: lambda channel, body: ChannelCredit(channel, _amount(body)),
    Kind.END: _decode_end,
    Kind.RESET: _decode_reset,
    Kind.LISTEN: lambda _number, body: decode_listen(body),
    Kind.LISTENING: decode_listening,
    Kind.UNLISTEN: _decode_unlisten,
}


class TrioetChannels:
    """How channels travel between two trioets: as they are."""

    half_close = True
    credit = True
    early = True
    """What follows a ChannelOpen at once is kept until the destination is connected."""

    def encode(self, message: ChannelMessage) -> Packet:
        """The packet that says it."""
        return Packet(PacketType.CHANNEL, encode_channel(message))

    def decode(self, packet: Packet) -> ChannelMessage | None:
        """What a packet says.

        Raises:
          MessageError: nothing that belongs here.
        """
        if packet.type != PacketType.CHANNEL:
            raise MessageError(f"packet type {packet.type} is of no channel")
        return decode_channel(packet.payload)
