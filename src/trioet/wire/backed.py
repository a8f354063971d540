"""BackedWriter and BackedReader: what makes a session outlive its connections.

Each direction counts its packets from 1. The writer keeps every sealed packet until the
peer is known to have it, so that a later connection can replay the rest; the reader knows
how many it has opened, and opens each exactly once (Eternal Terminal specification 1.7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trioet.errors import HandshakeError, TooFarBehind
from trioet.wire.packet import Packet, join_body, split_body
from trioet.wire.sealing import SealedBox

MAX_SEQUENCE: Final = 2**31 - 1
"""Sequence numbers travel as int32 (specification 1.7): a session can resume while
either direction has sent no more packets than this."""

PACKET_OVERHEAD: Final = 160
"""Bytes that a remembered packet costs beside its body, in CPython: the bytes object, its
slot in the table and its ordinal. Counted, so that a budget means memory."""


class ReplayBudget:
    """Memory that all replay buffers of a process may take together, in bytes.

    Nothing is refused here: a writer always remembers what it sealed. Whoever produces
    data asks :meth:`exceeded_by` first and waits while it says so. The policy: while the
    total is over the limit, those sessions wait that hold more than an equal share, so a
    flood that nobody reads never stops a neighbour's typing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.writers = 0

    def exceeded_by(self, kept: int) -> bool:
        """True when a writer that keeps ``kept`` bytes should produce no more for now."""
        return self.used > self.limit and kept > self.limit // max(1, self.writers)


class BackedWriter:
    """Seal packets, remember them, forget them once the peer has them."""

    def __init__(self, box: SealedBox, budget: ReplayBudget) -> None:
        self._box = box
        self._budget = budget
        self._kept: dict[int, bytes] = {}
        self._oldest = 1
        self.sent = 0
        """Packets sealed so far; the ordinal of the newest."""
        self.acknowledged = 0
        """Packets that the peer has proven to have."""
        self.sealed_bytes = 0
        """Body bytes sealed so far, in all; see :meth:`unacknowledged_bytes`."""
        self.kept_bytes = 0
        """Memory that the remembered packets take, about."""
        self._acknowledged_bytes = 0
        budget.writers += 1

    def __repr__(self) -> str:
        return (
            f"<BackedWriter sent={self.sent} acknowledged={self.acknowledged} "
            f"oldest={self._oldest} kept={self.kept_bytes}B>"
        )

    @property
    def oldest(self) -> int:
        """Ordinal of the oldest packet that can still be replayed."""
        return self._oldest

    @property
    def unacknowledged_bytes(self) -> int:
        """Body bytes that the peer has not yet said it has."""
        return self.sealed_bytes - self._acknowledged_bytes

    def write(self, packet_type: int, payload: bytes) -> int:
        """Seal a packet and remember it; return its ordinal."""
        ordinal = self.sent + 1
        body = join_body(packet_type, self._box.seal(ordinal, payload))
        self._kept[ordinal] = body
        self.sent = ordinal
        self.sealed_bytes += len(body)
        cost = len(body) + PACKET_OVERHEAD
        self.kept_bytes += cost
        self._budget.used += cost
        return ordinal

    def body(self, ordinal: int) -> bytes:
        """Return a remembered body.

        Raises:
          TooFarBehind: it has been forgotten.
        """
        try:
            return self._kept[ordinal]
        except KeyError:
            raise TooFarBehind(
                f"packet {ordinal} is no longer kept; the oldest is {self._oldest}"
            ) from None

    def bodies(self, first: int, last: int) -> Iterator[bytes]:
        """Yield the bodies ``first`` to ``last``, both included."""
        return (self.body(ordinal) for ordinal in range(first, last + 1))

    def size_after(self, ordinal: int, limit: int) -> int:
        """Return how many bytes the bodies after ``ordinal`` have; stop beyond ``limit``.

        Raises:
          TooFarBehind: one of them has been forgotten.
        """
        size = 0
        for number in range(self.sent, ordinal, -1):
            size += len(self.body(number))
            if size > limit:
                break
        return size

    def check_received(self, count: int) -> None:
        """Check what a peer says it has received, before anything is replayed to it.

        Raises:
          HandshakeError: it says more than was ever sent, or less than it has proven.
          TooFarBehind: what it lacks has been forgotten.
        """
        if count > self.sent:
            raise HandshakeError(f"the peer claims {count} packets of {self.sent} sent")
        if count < self.acknowledged:
            raise HandshakeError(
                f"the peer claims {count} packets, it has proven {self.acknowledged}"
            )
        if count + 1 < self._oldest:
            raise TooFarBehind(
                f"the peer has {count} packets; the oldest still kept is {self._oldest}"
            )

    def acknowledge(self, count: int) -> None:
        """The peer has proven to hold the first ``count`` packets; forgetting is separate.

        Raises:
          HandshakeError: more than was ever sent.
        """
        if count > self.sent:
            raise HandshakeError(f"the peer acknowledged {count} packets of {self.sent} sent")
        for ordinal in range(max(self.acknowledged, self._oldest - 1) + 1, count + 1):
            self._acknowledged_bytes += len(self._kept[ordinal])
        self.acknowledged = max(self.acknowledged, count)

    def forget(self, count: int) -> None:
        """Drop the packets up to number ``count`` from memory."""
        for ordinal in range(self._oldest, min(count, self.sent) + 1):
            self._drop(ordinal)
        self._oldest = max(self._oldest, min(count, self.sent) + 1)

    def forget_beyond(self, limit: int, before: int) -> None:
        """Drop the oldest packets, those below ``before``, until ``limit`` bytes are kept."""
        while self.kept_bytes > limit and self._oldest < before:
            if self._oldest > self.acknowledged:
                self._acknowledged_bytes += len(self._kept[self._oldest])
            self._drop(self._oldest)
            self._oldest += 1

    def forget_acknowledged(self, limit: int) -> None:
        """Drop acknowledged packets, the oldest first, until they take at most ``limit`` bytes."""
        unacknowledged = self.sent - max(self.acknowledged, self._oldest - 1)
        rest = self.unacknowledged_bytes + unacknowledged * PACKET_OVERHEAD
        self.forget_beyond(limit + rest, self.acknowledged + 1)

    def close(self) -> None:
        """Give the memory back to the budget. Nothing can be replayed afterwards."""
        self.forget(self.sent)
        self._budget.writers -= 1

    def _drop(self, ordinal: int) -> None:
        cost = len(self._kept.pop(ordinal)) + PACKET_OVERHEAD
        self.kept_bytes -= cost
        self._budget.used -= cost


class BackedReader:
    """Open each packet once, in order, on whichever connection it came."""

    def __init__(self, box: SealedBox) -> None:
        self._box = box
        self.received = 0
        """Packets received so far. Moves only after a packet opened."""

    def __repr__(self) -> str:
        return f"<BackedReader received={self.received}>"

    def open(self, ordinal: int, body: bytes) -> Packet | None:
        """Open packet number ``ordinal``; None when it was received before.

        Counting it is a second step, :meth:`count`, so that a packet that opened but
        makes no sense (its type travels unauthenticated) can come again.
        A repeated packet is opened all the same: what does not open costs its connection.

        Raises:
          PacketError: not a packet.
          ForgedPacket: not sealed under the session's key at this ordinal.
        """
        packet_type, sealed = split_body(body)
        payload = self._box.open(ordinal, sealed)
        return Packet(packet_type, payload) if ordinal > self.received else None

    def count(self) -> None:
        """The next packet has been received."""
        self.received += 1
