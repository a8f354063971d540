"""What somebody on the way can read off a connection: where its packets begin and end.

No key is needed for that, and none of trioet's own readers is used: this is the listener's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LENGTH: Final = 8
"""Bytes of the length before a handshake message; little-endian."""

PACKET_LENGTH: Final = 4
"""Bytes of the length before a packet; big-endian."""

RETURNING: Final = b"\x08\x02"
"""How a ConnectResponse begins that says RETURNING_CLIENT."""


class Span(NamedTuple):
    """Where a packet lies: its frame or catch-up entry from ``start``, its body from ``body``."""

    start: int
    body: int
    end: int


def is_returning(down: bytes | bytearray) -> bool:
    """Whether the server's first message calls the client a returning one."""
    return bytes(down[LENGTH : LENGTH + len(RETURNING)]) == RETURNING


def header_in(stream: bytes | bytearray) -> Span | None:
    """The SequenceHeader of a returning line, if all of it is there."""
    start = _after_message(stream, 0)
    end = _after_message(stream, start)
    return Span(start, start + LENGTH, end) if start < end else None


def packets_in(stream: bytes | bytearray, returning: bool) -> list[Span]:
    """All whole packets in one direction of a line, those in its catch-up included."""
    spans: list[Span] = []
    at = _after_message(stream, 0)
    if returning and at:
        header = header_in(stream)
        if header is None or len(stream) < header.end + LENGTH:
            return spans
        at = header.end + LENGTH
        end = at + int.from_bytes(stream[header.end : at], "little")
        while at < min(end, len(stream)):
            size, body = _varint(stream, at + 1)
            if body + size > len(stream):
                return spans
            spans.append(Span(at, body, body + size))
            at = body + size
    while at and at + PACKET_LENGTH <= len(stream):
        body = at + PACKET_LENGTH
        end = body + int.from_bytes(stream[at:body], "big")
        if end > len(stream):
            break
        spans.append(Span(at, body, end))
        at = end
    return spans


def _after_message(stream: bytes | bytearray, at: int) -> int:
    """Where the handshake message at ``at`` ends; ``at`` itself while it is incomplete."""
    end = at + LENGTH + int.from_bytes(stream[at : at + LENGTH], "little")
    return end if at + LENGTH <= len(stream) and end <= len(stream) else at


def _varint(stream: bytes | bytearray, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends; behind the stream if it does."""
    value = shift = 0
    while at < len(stream):
        value |= (stream[at] & 0x7F) << shift
        shift += 7
        at += 1
        if stream[at - 1] < 0x80:
            return value, at
    return 0, len(stream) + 1
