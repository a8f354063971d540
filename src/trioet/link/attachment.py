"""One line in use by a link: where it stands in both directions.

The packets to send are not queued anywhere: the link's BackedWriter holds them all, and
each line has a cursor into it. So two lines may carry the same sealed packets for a while
(the old one and a returning one that has not proven itself), and losing a line costs
nothing but its cursor.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.errors import HandshakeError, TooFarBehind
from trioet.link.line import Line, LineBroken
from trioet.wire.backed import BackedWriter
from trioet.wire.framing import packet_frame
from trioet.wire.handshake import catchup_entry, catchup_head

CHUNK: Final = 64 * 1024
"""Bytes handed to the kernel at once, about."""

PROOF_DEADLINE_S: Final = 15.0
"""How long a line may stay without proving itself, and without taking any of its catch-up.
A real `et` says something in 6 s, once it has all of that."""


class Attachment:
    """A line, and how far it has come."""

    def __init__(
        self,
        line: Line,
        writer: BackedWriter,
        on_writable: Callable[[], None],
        *,
        held_back: int = 0,
    ) -> None:
        self.line = line
        self.proven = False
        """A packet on this line has opened: the peer is at the other end."""
        self.next_in = 1
        """Ordinal of the next packet that this line brings."""
        self.given_up = False
        """Another line has taken its place: what it still brings is not looked at."""
        self.time_to_prove = trio.CancelScope()
        """Cancelled when the line has had its time; see :meth:`allow`."""
        self.last_words = 0
        """Everything up to this packet was sent, and then the line shut down; 0: it was not."""
        self._writer = writer
        self._tail: bytes | memoryview = b""
        self._cursor: int | None = None
        self._catchup_end = 0
        self._held_back = held_back
        """Packets of a catch-up, its last, that go as ordinary ones after it."""
        self._turn: Callable[[], Awaitable[None]] | None = None
        self._on_writable = on_writable
        self.blocked = False
        """True while the kernel takes no more."""
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return (
            f"<Attachment {self.line.peer_name} proven={self.proven} "
            f"next_in={self.next_in} next_out={self._cursor}>"
        )

    @property
    def needs(self) -> int:
        """Ordinal of the oldest packet this line still has to send."""
        return self._writer.sent + 1 if self._cursor is None else self._cursor

    def allow(self, seconds: float) -> None:
        """Give a line that has not proven itself so much time from now on."""
        self.time_to_prove.deadline = trio.current_time() + seconds

    def give_up(self) -> None:
        """Close the line in favour of another."""
        self.given_up = True
        self.line.close()

    def prove(self) -> None:
        """A packet on the line has opened."""
        self.proven = True
        self.time_to_prove.deadline = math.inf

    def greet(self, data: bytes) -> None:
        """Send handshake bytes, ahead of all packets."""
        self._tail = bytes(self._tail) + data
        self.flush()

    def start(self) -> None:
        """Start sending packets, from the first on."""
        self._cursor = 1
        self.flush()

    def catch_up(self, after: int, turn: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start sending packets, from ``after + 1`` on; not before ``turn()`` returns.

        Those that exist by then go as one CatchupBuffer.

        Raises:
          HandshakeError: they do not fit one.
          TooFarBehind: they are no longer kept.
        """
        self._cursor = after + 1
        if turn is not None:
            self._turn = turn
            self.block()
        else:
            self._promise_catch_up()
            self.flush()

    def _promise_catch_up(self) -> None:
        assert self._cursor is not None, "catch_up() comes first"
        self._catchup_end = max(self._writer.sent - self._held_back, self._cursor - 1)
        sizes = [len(body) for body in self._writer.bodies(self._cursor, self._catchup_end)]
        self._tail = bytes(self._tail) + catchup_head(sizes)

    def flush(self) -> None:
        """Hand over what the kernel takes. A broken line is left to its reader to notice."""
        if self.blocked:
            return
        try:
            while True:
                if not self._tail:
                    self._tail = self._next_chunk()
                    if not self._tail:
                        return
                taken = self.line.try_send(self._tail)
                if taken < len(self._tail):
                    self._tail = memoryview(self._tail)[taken:]
                    self.block()
                    return
                self._tail = b""
        except (LineBroken, TooFarBehind):
            self.line.close()

    def block(self) -> None:
        """Send no more until the line is writable; :meth:`run_writer` sees to that."""
        self.blocked = True
        self._wake.set()

    async def run_writer(self) -> None:
        """Send what could not be sent at once. Returns when the line breaks.

        Cancellation leaves the line as it is; whatever was sent stays counted.
        """
        try:
            while True:
                await self._wake.wait()
                if self._turn is not None:
                    await self._turn()
                    self._turn = None
                    self._promise_catch_up()
                await self.line.wait_writable()
                self._wake = trio.Event()
                self.blocked = False
                self.flush()
                if not self.blocked:
                    self._on_writable()
        except (LineBroken, HandshakeError, TooFarBehind):
            self.line.close()

    def _next_chunk(self) -> bytes:
        writer, cursor = self._writer, self._cursor
        if cursor is None or cursor > writer.sent:
            return b""
        if cursor == writer.sent and cursor > self._catchup_end:
            self._cursor = cursor + 1
            return packet_frame(writer.body(cursor))
        if not self.proven and cursor <= self._catchup_end:
            self.allow(PROOF_DEADLINE_S)  # it takes what it needs to prove itself
        parts: list[bytes] = []
        size = 0
        while size < CHUNK and cursor <= writer.sent:
            body = writer.body(cursor)
            parts.append(catchup_entry(body) if cursor <= self._catchup_end else packet_frame(body))
            size += len(body)
            cursor += 1
        self._cursor = cursor
        return b"".join(parts)
