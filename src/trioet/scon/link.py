"""SconLink: one byte stream each way, over however many connections it takes.

What :class:`trioet.link.resumable.ResumableLink` is for packets, on the same lines, for a protocol
that counts bytes. Bytes go in by :meth:`SconLink.send` and come out at a :class:`Receiver`. The
rules:

* **The request is the proof.** There is nothing to wait for: a line that is attached is proven,
  and the one before it goes.
* **Keep what may be under way.** goscon's protocol acknowledges nothing, and what a kernel says
  is acknowledged may lie unread in the peer's. So up to ``max_kept`` bytes are kept, for as long
  as there is memory; the sealed form acknowledges, and keeps what it must and no more.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, Protocol

import trio

from trioet.errors import SessionLost
from trioet.link.attachment import Attachment
from trioet.link.line import Line, LineBroken
from trioet.link.lines import Lines, PeerClosed, receive
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_handshake import COUNT_MASK
from trioet.wire.scon_kept import KeptStream
from trioet.wire.scon_sealed import Kind, SealedOutward
from trioet.wire.scon_streams import Inward, Outward

ACK_EVERY: Final = 64 * 1024
"""Bytes received between two acknowledgements in the sealed form."""


class PeerOver(LineBroken):
    """The peer has ended the session: no other line is needed."""


class Receiver(Protocol):
    """Where a link's bytes go."""

    def arrived(self, data: bytes) -> None:
        """Take the next bytes, at once."""

    def ended(self) -> None:
        """Nothing more will come: only in the sealed form."""

    def heard(self) -> None:
        """Something of the peer's came, be it for the receiver or not."""

    async def ready(self) -> None:
        """Return when more is welcome; called after each arrival, and by more than one task.

        Cancellation must lose nothing: another line then goes on.
        """


class StreamAttachment(Attachment):
    """An attachment with a cursor into a KeptStream."""

    def __init__(self, line: Line, kept: KeptStream, on_writable: Callable[[], None]) -> None:
        super().__init__(line, on_writable)
        self._kept = kept
        self._cursor: int | None = None

    @property
    def needs(self) -> int:
        """Position of the first byte that the kernel has not taken, or one before it."""
        if self._cursor is None:
            return self._kept.oldest
        return self._cursor - len(self._tail)

    @property
    def has_handed_over(self) -> bool:
        """Everything so far is with the kernel."""
        return self._cursor == self._kept.sent and not self._tail

    def start(self, position: int) -> None:
        """Send what is behind ``position``, and what comes."""
        self._cursor = position
        self.flush()

    def next_chunk(self) -> bytes:
        if self._cursor is None:
            return b""
        chunk = self._kept.piece(self._cursor)
        self._cursor += len(chunk)
        return chunk

    def just_kept(self, data: bytes) -> None:
        """Send what was kept last, without looking for it if nothing goes before."""
        if self._cursor == self._kept.sent - len(data) and not self._tail:
            self._cursor = self._kept.sent
            self._tail = data
        self.flush()


class SconLink:
    """Send and receive bytes across the loss of any number of lines. Owns no task."""

    def __init__(
        self, receiver: Receiver, *, budget: ReplayBudget, floor: int, max_kept: int
    ) -> None:
        """``floor`` is kept for a replay even when memory is short; see the module."""
        self.last_heard = -math.inf
        """When bytes last came, in Trio's clock."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a line was attached or lost."""
        self._receiver = receiver
        self._budget = budget
        self._kept = KeptStream(budget)
        self._floor = floor
        self._max_kept = max_kept
        self._outward: Outward | None = None
        self._inward: Inward | None = None
        self._sealing: SealedOutward | None = None
        self._lines = Lines[StreamAttachment]()
        self._lines.on_change = self._lines_changed
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False
        self._lost: Exception | None = None
        self._last_words: Line | None = None
        """A line that was shut down after everything was sent."""
        self._last_words_read = False
        self._last_sent = -math.inf
        self._acknowledged = 0
        """Bytes of the peer's that it knows we have."""

    def __repr__(self) -> str:
        return f"<SconLink {self._kept!r} received={self.received} {self._lines.attached!r}>"

    def agree(self, outward: Outward, inward: Inward) -> None:
        """The session has begun, and this is how its bytes travel. Once, and before all else."""
        self._outward, self._inward = outward, inward
        self._sealing = outward if isinstance(outward, SealedOutward) else None

    @property
    def established(self) -> bool:
        """True once the session has begun: the next line resumes it."""
        return self._outward is not None

    # What goes out

    def send(self, data: bytes) -> None:
        """Seal bytes and send them, now or on whichever line comes next.

        Never waits and never loses; callers await :meth:`wait_room` first.
        """
        assert self._outward is not None, "agree() comes first"
        piece = self._outward.piece
        if len(data) <= piece:
            self._send_sealed(self._outward.seal(data))
            return
        for start in range(0, len(data), piece):
            self._send_sealed(self._outward.seal(data[start : start + piece]))

    def send_end(self) -> None:
        """Say that nothing more will be sent, where the protocol has a way to."""
        self._send_record(Kind.END)

    def send_over(self) -> None:
        """Say that the session is over, where the protocol has a way to."""
        self._send_record(Kind.OVER)

    def send_ack(self) -> None:
        """Say what has been received, where the protocol has a way to."""
        if self._sealing is not None and self._inward is not None:
            self._acknowledged = self._inward.received
            self._send_sealed(self._sealing.ack(self._acknowledged))

    def _send_record(self, kind: Kind) -> None:
        if self._sealing is not None:
            self._send_sealed(self._sealing.record(kind))

    def _send_sealed(self, sealed: bytes) -> None:
        self._last_sent = trio.current_time()
        self._kept.append(sealed)
        for attachment in self._lines.attached:
            attachment.just_kept(sealed)
        if self._sealing is None and self._kept.kept_bytes > self._floor:
            self.trim(self._max_kept)

    def has_room(self) -> bool:
        """True when what is sent now would go out now."""
        attachment = self._lines.proven
        if attachment is None or attachment.blocked:
            return False
        return self._sealing is None or self.unacknowledged < self._max_kept

    async def wait_room(self) -> None:
        """Wait until :meth:`has_room`. Cancellation changes nothing.

        Raises:
          SessionLost: there will be none.
        """
        while not self.has_room():
            await self.wait_change()

    async def wait_handed_over(self) -> Line:
        """Wait until a line has taken everything; return it. Cancellation changes nothing.

        Raises:
          SessionLost: none will.
        """
        while True:
            attachment = self._lines.proven
            if attachment is not None and attachment.has_handed_over:
                return attachment.line
            await self.wait_change()

    async def wait_acknowledged(self) -> None:
        """Wait until the peer has said that it has everything: only in the sealed form.

        Cancellation changes nothing.

        Raises:
          SessionLost: it never will.
        """
        while self.unacknowledged:
            await self.wait_change()

    async def wait_change(self) -> None:
        """Wait until something has changed: a line, what it takes, or what was acknowledged.

        Cancellation changes nothing.

        Raises:
          SessionLost: nothing ever will.
        """
        if self._lost is not None:
            raise SessionLost(str(self._lost)) from self._lost
        await self._changed.park()

    async def wait_read(self) -> None:
        """Wait until the peer has read everything: it closes a line after its end.

        For a protocol without acknowledgements. Nothing can be sent afterwards. Cancellation
        changes nothing.

        Raises:
          SessionLost: it never will.
        """
        while not self._last_words_read:
            line = await self.wait_handed_over()
            self._last_words = line
            line.shutdown()
            while self.line is line:
                await self.wait_change()

    def lose(self, why: Exception) -> None:
        """There will be no other line: whoever waits for one is told."""
        self._lost = why
        self.wake()

    # What may be forgotten

    def trim(self, most: int) -> None:
        """Keep at most ``most`` bytes, less while memory is short, of what has been handed over.

        Without a line, and of what will be acknowledged, all is kept.
        """
        attachment = self._lines.proven
        if attachment is None or self._sealing is not None:
            return
        if self._budget.exceeded_by(self._kept.kept_bytes):
            most = min(most, self._budget.limit // max(1, self._budget.writers))
        beyond = self._kept.sent - max(most, self._floor)
        self._kept.forget(min(beyond, attachment.needs))

    def trim_if_quiet(self, seconds: float) -> None:
        """Keep the least if nothing was sent for so long: it has arrived."""
        attachment = self._lines.proven
        if attachment is not None and self._kept.kept_bytes > self._floor:
            quiet = trio.current_time() - self._last_sent >= seconds
            self.trim(self._floor if quiet and attachment.has_handed_over else self._max_kept)

    def _forget_acknowledged(self) -> None:
        if self._sealing is not None and self._inward is not None:
            needs = min((a.needs for a in self._lines.attached), default=self._kept.sent)
            self._kept.forget(min(self._inward.acknowledged, needs))
            self._changed.unpark_all()

    # Where both ends are

    @property
    def line(self) -> Line | None:
        """The line in use."""
        attachment = self._lines.proven
        return attachment.line if attachment else None

    @property
    def lines(self) -> list[Line]:
        """The same, as a list."""
        return [attachment.line for attachment in self._lines.attached]

    @property
    def attached(self) -> bool:
        """True while there is a line."""
        return bool(self._lines.attached)

    @property
    def kept_bytes(self) -> int:
        """Bytes kept for a replay."""
        return self._kept.kept_bytes

    @property
    def sent(self) -> int:
        """Bytes of the wire that were sent, each counted once."""
        return self._kept.sent

    @property
    def unacknowledged(self) -> int:
        """Bytes of the wire that the peer has not said it has: all, if it cannot."""
        return self._kept.sent - (self._inward.acknowledged if self._inward else 0)

    @property
    def received(self) -> int:
        """Bytes of the wire that need not come again."""
        return self._inward.received if self._inward else 0

    @property
    def received_count(self) -> int:
        """The same as it travels."""
        return self.received & COUNT_MASK

    def position(self, received: int) -> int:
        """Where a replay begins for a peer that has so many bytes, as they travel.

        Raises:
          TooFarBehind: they cannot be replayed.
        """
        return self._kept.position(received)

    # Lines

    async def run(
        self, line: Line, position: int, greeting: Callable[[], bytes], rest: bytes = b""
    ) -> NoReturn:
        """Server: use a line, in place of any other, until it is gone.

        ``greeting()`` goes ahead of all, and is called when the line before brings nothing more;
        then comes what lies behind ``position``. ``rest`` was read from the line already. Closes
        the line in any case. Cancellation loses nothing but the line.

        Raises:
          LineBroken, PeerError: what ended it.
        """
        attachment = self.new_attachment(line)

        async def converse() -> None:
            self.attach(attachment)
            attachment.greet(greeting())
            await self.carry(attachment, position, rest)

        await self._lines.run(attachment, converse)

    def new_attachment(self, line: Line) -> StreamAttachment:
        """A place for a line that will carry this link."""
        return StreamAttachment(line, self._kept, self.wake)

    async def run_attachment(
        self, attachment: StreamAttachment, converse: Callable[[], Awaitable[None]]
    ) -> NoReturn:
        """Client: the same, with a handshake of its own, after which it attaches and carries."""
        try:
            await self._lines.run(attachment, converse)
        except PeerClosed:
            self._last_words_read |= self._last_words is attachment.line
            self.wake()
            raise

    def attach(self, attachment: StreamAttachment) -> None:
        """The line is the session's from now on, and no other.

        Raises:
          LineBroken: it comes too late.
        """
        if self._closed:
            raise LineBroken("the session is over")
        self._lines.attach(attachment)
        self._lines.prove(attachment)
        if self._inward is not None:
            self._inward.restart()

    async def carry(
        self, attachment: StreamAttachment, position: int, rest: bytes, skip: int = 0
    ) -> None:
        """Send from ``position`` on; read until the line breaks.

        ``skip`` bytes of what comes were received before.
        """
        self._kept.forget(position)
        attachment.start(position)
        self._changed.unpark_all()
        await self._make_ready(attachment)  # for what the line before has left
        data = rest or await receive(attachment.line)
        while True:
            if skip:
                dropped = min(skip, len(data))
                data, skip = data[dropped:], skip - dropped
            self._open(data)
            await self._make_ready(attachment)
            if self._inward is not None and self._inward.over:
                raise PeerOver("the peer has ended the session")
            data = await receive(attachment.line)

    async def _make_ready(self, attachment: StreamAttachment) -> None:
        await self._receiver.ready()
        if attachment.given_up:
            raise LineBroken("given up for another connection")

    def _open(self, data: bytes) -> None:
        inward = self._inward
        assert inward is not None, "agree() comes first"
        had_ended = inward.ended
        plain = inward.open(data)
        self.last_heard = trio.current_time()
        if plain:
            self._receiver.arrived(plain)
        if self._sealing is not None:
            self._forget_acknowledged()
            ends = inward.ended and not had_ended
            if ends:
                self._receiver.ended()
            if ends or inward.over or inward.received - self._acknowledged >= ACK_EVERY:
                self.send_ack()
        self._receiver.heard()

    def wake(self) -> None:
        """Something changed: wake who waits."""
        self._changed.unpark_all()

    def _lines_changed(self) -> None:
        self.wake()
        self.on_change()

    def close(self) -> None:
        """Close the line and forget everything. The link is of no use afterwards."""
        self._closed = True
        self._lines.close()
        self._kept.close()
