"""A line that carries a session's packets: where it stands in both directions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trioet.link.attachment import CHUNK, PROOF_DEADLINE_S, Attachment
from trioet.link.line import Line
from trioet.wire.backed import BackedWriter
from trioet.wire.framing import packet_frame
from trioet.wire.handshake import catchup_entry, catchup_head


class PacketAttachment(Attachment):
    """An attachment with a cursor into a BackedWriter."""

    def __init__(
        self,
        line: Line,
        writer: BackedWriter,
        on_writable: Callable[[], None],
        *,
        held_back: int = 0,
    ) -> None:
        super().__init__(line, on_writable)
        self.next_in = 1
        """Ordinal of the next packet that this line brings."""
        self.last_words = 0
        """Everything up to this packet was sent, and then the line shut down; 0: it was not."""
        self._writer = writer
        self._cursor: int | None = None
        self._catchup_end = 0
        self._held_back = held_back
        """Packets of a catch-up, its last, that go as ordinary ones after it."""

    def __repr__(self) -> str:
        return (
            f"<PacketAttachment {self.line.peer_name} proven={self.proven} "
            f"next_in={self.next_in} next_out={self._cursor}>"
        )

    @property
    def needs(self) -> int:
        """Ordinal of the oldest packet this line still has to send."""
        return self._writer.sent + 1 if self._cursor is None else self._cursor

    @property
    def started(self) -> bool:
        """True once packets may go."""
        return self._cursor is not None

    def start(self, greeting: bytes = b"") -> None:
        """Send packets, from the first on, in one piece with ``greeting``; go on if that has
        begun."""
        if not self.started:
            self._cursor = 1
            self.put_in_front(greeting + self.next_chunk())
        self.flush()

    def catch_up(self, after: int, turn: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start sending packets, from ``after + 1`` on; not before ``turn()`` returns.

        Those that exist by then go as one CatchupBuffer.

        Raises:
          HandshakeError: they do not fit one.
          TooFarBehind: they are no longer kept.
        """
        self._cursor = after + 1
        if turn is None:
            self._promise_catch_up()
            self.flush()
            return

        async def take_turn() -> None:
            await turn()
            self._promise_catch_up()

        self.wait_turn(take_turn)

    def _promise_catch_up(self) -> None:
        assert self._cursor is not None, "catch_up() comes first"
        self._catchup_end = max(self._writer.sent - self._held_back, self._cursor - 1)
        sizes = [len(body) for body in self._writer.bodies(self._cursor, self._catchup_end)]
        self.put_in_front(catchup_head(sizes))

    def next_chunk(self) -> bytes:
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
