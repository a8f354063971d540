"""Packets: one flag byte, one type byte, a sealed payload.

Flag and type travel in clear and unauthenticated (Eternal Terminal specification 1.5);
so a type that makes no sense is the connection's fault, never a reason to end a session.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from trioet.errors import PacketError

SEALED: Final = 1
"""The only flag byte that ever travels between hosts."""

HEADER: Final = 2
"""Bytes before the sealed payload: flag and type."""


class PacketType(IntEnum):
    """What a packet carries (specification 1.3). From 64 up: trioet's own, negotiated."""

    KEEP_ALIVE = 0
    TERMINAL_BUFFER = 1
    TERMINAL_INFO = 2
    PORT_FORWARD_DESTINATION_REQUEST = 5
    PORT_FORWARD_DESTINATION_RESPONSE = 6
    PORT_FORWARD_DATA = 7
    SESSION_OVER = 64
    STDERR = 65
    STDIN_EOF = 66
    CHANNEL = 67
    STREAM = 68
    SIZE = 69
    NOTICE = 70
    INITIAL_RESPONSE = 252
    INITIAL_PAYLOAD = 253


class Packet(NamedTuple):
    """One opened packet. ``type`` is an int: a peer may send any."""

    type: int
    payload: bytes


def join_body(packet_type: int, sealed: bytes) -> bytes:
    """Return the body that is framed, remembered and replayed."""
    return bytes((SEALED, packet_type)) + sealed


def split_body(body: bytes) -> tuple[int, bytes]:
    """Return the type and the sealed payload of a body.

    Raises:
      PacketError: too short to hold flag and type, or the flag says that the payload
          is in clear, which no peer may send over a network.
    """
    if len(body) < HEADER:
        raise PacketError(f"packet of {len(body)} bytes; at least {HEADER} needed")
    if body[0] != SEALED:
        raise PacketError(f"packet with flag {body[0]}; only {SEALED} (sealed) is accepted")
    return body[1], body[HEADER:]
