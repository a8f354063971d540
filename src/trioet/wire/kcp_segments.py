"""The segments of a KCP datagram, as far as a listener must know them.

KCP (skywind3000/kcp, protocol.txt) puts segments one behind the other: a header of 24 bytes,
little-endian, and data. Here a datagram is looked through before anything is done with it:
what is not whole, or of two conversations, is nobody's.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from trioet.errors import FrameError

HEADER: Final = struct.Struct("<IBBHIIII")


class Command(IntEnum):
    """What a segment is."""

    PUSH = 81
    ACK = 82
    ASK_WINDOW = 83
    TELL_WINDOW = 84


class Segment(NamedTuple):
    """A segment's header. Its data is not kept."""

    conversation: int
    command: Command
    fragment: int
    window: int
    time: int
    """Milliseconds of the sender's clock; an ACK has those of what it acknowledges."""
    number: int
    expected: int
    """All of the other's segments before this one have arrived."""
    size: int

    @property
    def begins(self) -> bool:
        """True if a conversation can begin with it: it is its first data."""
        return self.command is Command.PUSH and self.number == 0 and self.size > 0


def segments(datagram: bytes) -> list[Segment]:
    """The segments of a datagram: one at least, all of one conversation.

    Raises:
      FrameError: it is no datagram of KCP.
    """
    found: list[Segment] = []
    place = 0
    while place < len(datagram) or not found:
        if len(datagram) - place < HEADER.size:
            raise FrameError("a segment of KCP is not whole")
        conversation, command, *rest = HEADER.unpack_from(datagram, place)
        try:
            segment = Segment(conversation, Command(command), *rest)
        except ValueError:
            raise FrameError(f"KCP has no command {command}") from None
        if conversation != (found or [segment])[0].conversation:
            raise FrameError("a datagram of KCP is of two conversations")
        place += HEADER.size + segment.size
        if place > len(datagram):
            raise FrameError("a segment of KCP is not whole")
        found.append(segment)
    return found
