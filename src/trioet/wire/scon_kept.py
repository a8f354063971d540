"""KeptStream: the end of a byte stream that was sent, kept until the peer surely has it.

Positions count the stream's bytes from 0 and never wrap here; on the wire they do, modulo
2^32 (description of goscon, 2.7), and :meth:`KeptStream.position` finds the one that is meant.
"""

from __future__ import annotations

from typing import Final

from trioet.errors import TooFarBehind
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_handshake import COUNT_MASK

BLOCK: Final = 16 * 1024
"""Bytes are kept, and forgotten, by blocks of this size."""


class KeptStream:
    """Remember bytes by their position in a stream; forget the oldest."""

    def __init__(self, budget: ReplayBudget) -> None:
        self._budget = budget
        self._blocks: dict[int, bytearray] = {}
        self.oldest = 0
        """Position of the first byte that is still kept."""
        self.sent = 0
        """Bytes appended so far: the position behind the last."""
        budget.writers += 1

    def __repr__(self) -> str:
        return f"<KeptStream oldest={self.oldest} sent={self.sent}>"

    @property
    def kept_bytes(self) -> int:
        """How many are kept."""
        return self.sent - self.oldest

    def append(self, data: bytes) -> None:
        """More of the stream."""
        taken, whole = 0, memoryview(data)
        while taken < len(data):
            number, offset = divmod(self.sent, BLOCK)
            part = whole[taken : taken + BLOCK - offset]
            if offset:
                self._blocks[number] += part
            else:
                self._blocks[number] = bytearray(part)
            taken += len(part)
            self.sent += len(part)
        self._budget.used += len(data)

    def piece(self, position: int) -> bytes:
        """Some bytes from ``position`` on: to the end of a block; b"" at the end of the stream.

        Raises:
          TooFarBehind: they are no longer kept.
        """
        if position >= self.sent:
            return b""
        if position < self.oldest:
            raise TooFarBehind(f"byte {position} is no longer kept; the oldest is {self.oldest}")
        number, offset = divmod(position, BLOCK)
        return bytes(memoryview(self._blocks[number])[offset:])

    def position(self, received: int) -> int:
        """Where a peer is that has ``received`` bytes, modulo 2^32.

        Raises:
          TooFarBehind: what it lacks is no longer kept, or it claims what was never sent.
        """
        lacks = (self.sent - received) & COUNT_MASK
        if lacks > self.kept_bytes:
            raise TooFarBehind(f"the peer lacks {lacks} bytes; {self.kept_bytes} are kept")
        return self.sent - lacks

    def forget(self, position: int) -> None:
        """Nobody will ask for what lies before ``position``: forget its whole blocks."""
        while self.oldest + BLOCK <= position:
            del self._blocks[self.oldest // BLOCK]
            self.oldest += BLOCK
            self._budget.used -= BLOCK

    def close(self) -> None:
        """Give the memory back to the budget. The stream is of no use afterwards."""
        self._budget.used -= self.kept_bytes
        self._budget.writers -= 1
        self._blocks.clear()
        self.oldest = self.sent
