"""Where one frame stops and the next begins.

Two framings share a connection, one after the other:

* the opening handshake: a signed 64-bit little-endian length, then that many bytes of
  protobuf (Eternal Terminal specification 1.1);
* packets: an unsigned 32-bit big-endian length, then that many bytes (1.5).

Nothing here knows of sockets, keys or tasks.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from trioet.errors import FrameError

HANDSHAKE_LENGTH: Final = Struct("<q")
PACKET_LENGTH: Final = Struct(">I")

MAX_HANDSHAKE_FRAME: Final = 4096
"""Bytes in one handshake message. A real ConnectRequest has 20, a refusal about 150."""

MAX_CATCHUP: Final = 128 * 1024 * 1024
"""Bytes in one CatchupBuffer: what ET itself accepts (1.1)."""

MIN_PACKET: Final = 2 + 16
"""Flag, type and the Poly1305 tag of an empty payload (1.5)."""

MAX_PACKET: Final = 4 * 1024 * 1024
"""Bytes in one packet. ET sends 16 KiB, and more only for a very long ``-c`` line."""


def handshake_frame(body: bytes) -> bytes:
    """Frame one handshake message."""
    return HANDSHAKE_LENGTH.pack(len(body)) + body


def packet_frame(body: bytes) -> bytes:
    """Frame one packet body (flag, type, sealed payload)."""
    return PACKET_LENGTH.pack(len(body)) + body


class PacketSplitter:
    """Cut a byte stream into packet bodies.

    How the bytes were sliced on arrival never changes the bodies that come out.
    """

    def __init__(self, *, max_packet: int = MAX_PACKET) -> None:
        self._max_packet = max_packet
        self._pending = bytearray()

    @property
    def idle(self) -> bool:
        """True when no partial packet is held."""
        return not self._pending

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the connection; return every packet body they completed.

        Raises:
          FrameError: the next length is one that no honest peer sends. The stream is
              beyond repair: drop the connection, do not feed it again.
        """
        whole: bytes | bytearray = data
        if self._pending:
            self._pending += data
            whole = self._pending
        bodies: list[bytes] = []
        start, size = 0, len(whole)
        while size - start >= PACKET_LENGTH.size:
            (length,) = PACKET_LENGTH.unpack_from(whole, start)
            if not MIN_PACKET <= length <= self._max_packet:
                raise FrameError(
                    f"packet of {length} bytes announced; "
                    f"{MIN_PACKET} to {self._max_packet} allowed"
                )
            end = start + PACKET_LENGTH.size + length
            if end > size:
                break
            bodies.append(bytes(whole[start + PACKET_LENGTH.size : end]))
            start = end
        # One move of what is left per feed, not per packet.
        if whole is self._pending:
            del self._pending[:start]
        elif start < size:
            self._pending += data[start:]
        return bodies
