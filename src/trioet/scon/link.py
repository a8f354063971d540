"""SconLink: one byte stream each way, over however many connections it takes.

The counterpart of :class:`trioet.link.resumable.ResumableLink` for a protocol that counts bytes
instead of packets. Bytes go in by :meth:`SconLink.send` and come out at a :class:`Receiver`; each
connection is a :class:`trioet.link.line.Line` that is run by :meth:`SconLink.run`. The rules:

* **A valid request replaces.** The proof is in the handshake, so there are no lines on trial: a
  new one takes the old one's place at once.
* **Keep what may be under way.** goscon's protocol acknowledges nothing, and what a kernel says
  is acknowledged lies in the peer's, unread. So up to ``max_kept`` bytes are kept, for as long
  as there is memory; the sealed form acknowledges, and keeps what it must and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioet.link.line import Line, LineBroken
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_handshake import COUNT_MASK
from trioet.wire.scon_kept import KeptStream
from trioet.wire.scon_sealed import Kind, SealedOutward
from trioet.wire.scon_streams import Inward, Outward

ACK_EVERY: Final = 64 * 1024
"""Bytes received between two acknowledgements in the sealed form."""


class Receiver(Protocol):
    """Where a link's bytes go."""

    def arrived(self, data: bytes) -> None:
        """Take the next bytes, at once."""

    def ended(self) -> None:
        """Nothing more will come: only in the sealed form."""

    def heard(self) -> None:
        """Something of the peer's came, be it for the receiver or not."""

    async def ready(self) -> None:
        """Return when more is welcome; called after each arrival.

        Cancellation must lose nothing: another line then goes on.
        """


class SconLink:
    """Send and receive bytes across the loss of any number of lines. Owns no task."""

    def __init__(
        self,
        outward: Outward,
        inward: Inward,
        receiver: Receiver,
        *,
        budget: ReplayBudget,
        floor: int,
        max_kept: int,
    ) -> None:
        self.line: Line | None = None
        """The line in use."""
        self.last_heard = -math.inf
        """When bytes last came, in Trio's clock."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a line was attached or lost."""
        self._outward = outward
        self._inward = inward
        self._receiver = receiver
        self._budget = budget
        self._kept = KeptStream(budget)
        self._floor = floor
        self._max_kept = max_kept
        self._cursor = 0
        """Position of the next byte that the line needs."""
        self._blocked = False
        self._nursery: trio.Nursery | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._last_sent = -math.inf
        self._acknowledged = 0
        """Bytes of the peer's that it knows we have."""

    def __repr__(self) -> str:
        return f"<SconLink {self._kept!r} received={self._inward.received} line={self.line!r}>"

    # What goes out

    def send(self, data: bytes) -> None:
        """Seal bytes and send them, now or on whichever line comes next.

        Never waits and never loses; callers await :meth:`wait_room` first.
        """
        piece = self._outward.piece
        if len(data) <= piece:
            self._send_sealed(self._outward.seal(data))
            return
        for start in range(0, len(data), piece):
            self._send_sealed(self._outward.seal(data[start : start + piece]))

    def send_end(self) -> bool:
        """Say that nothing more will be sent; False where the protocol has no way to."""
        return self._send_record(Kind.END)

    def send_over(self) -> bool:
        """Say that the session is over; False where the protocol has no way to."""
        return self._send_record(Kind.OVER)

    def send_hello(self) -> None:
        """Prove to the server of a sealed session that we have its keys."""
        if isinstance(self._outward, SealedOutward):
            self._send_ack(self._outward)

    def _send_record(self, kind: Kind) -> bool:
        if not isinstance(self._outward, SealedOutward):
            return False
        self._send_sealed(self._outward.record(kind))
        return True

    def _send_ack(self, outward: SealedOutward) -> None:
        self._acknowledged = self._inward.received
        self._send_sealed(outward.ack(self._acknowledged))

    def _send_sealed(self, sealed: bytes) -> None:
        position = self._kept.sent
        self._last_sent = trio.current_time()
        self._kept.append(sealed)
        if self.line is not None and not self._blocked:
            if self._cursor == position:
                self._hand_over(self.line, sealed)
            self._flush()
        self._forget()

    def _flush(self) -> None:
        """Hand over what the kernel takes. A broken line is left to its reader to notice."""
        line = self.line
        while line is not None and not self._blocked:
            piece = self._kept.piece(self._cursor)
            if not piece:
                return
            self._hand_over(line, piece)

    def _hand_over(self, line: Line, piece: bytes) -> None:
        try:
            taken = line.try_send(piece)
        except LineBroken:
            self._blocked = True
            line.close()
            return
        self._cursor += taken
        if taken < len(piece):
            self._blocked = True
            assert self._nursery is not None, "a line is run"
            self._nursery.start_soon(self._drain, line)

    async def _drain(self, line: Line) -> None:
        """Send what could not be sent at once."""
        try:
            await line.wait_writable()
        except LineBroken:
            line.close()
            return
        if self.line is line:
            self._blocked = False
            self._flush()
            self._forget()
            self._changed.unpark_all()

    @property
    def all_acknowledged(self) -> bool:
        """The peer has said that it has everything: only in the sealed form."""
        return self._inward.acknowledged >= self._kept.sent

    def has_room(self) -> bool:
        """True when what is sent now would go out now."""
        if self.line is None or self._blocked:
            return False
        if isinstance(self._outward, SealedOutward):
            return self._kept.sent - self._inward.acknowledged < self._max_kept
        return True

    async def wait_room(self) -> None:
        """Wait until :meth:`has_room`. Cancellation changes nothing."""
        while not self.has_room():
            await self._changed.park()

    async def wait_handed_over(self) -> None:
        """Wait until a line has taken everything. Cancellation changes nothing."""
        while self.line is None or self._cursor < self._kept.sent:
            await self._changed.park()

    async def wait_lost(self, line: Line) -> None:
        """Wait until the line is no longer in use. Cancellation changes nothing."""
        while self.line is line:
            await self._changed.park()

    # What may be forgotten

    def _forget(self) -> None:
        if isinstance(self._outward, SealedOutward):
            self._kept.forget(min(self._inward.acknowledged, self._cursor))
        elif self._kept.kept_bytes > self._floor:
            self.trim(self._max_kept)

    def trim(self, most: int) -> None:
        """Keep at most ``most`` bytes, and less while memory is short; of what is not sent, and
        what has not been acknowledged, all.

        Legal while a line is attached; without one, all that is kept may be asked for.
        """
        if self.line is None or isinstance(self._outward, SealedOutward):
            return
        if self._budget.exceeded_by(self._kept.kept_bytes):
            most = min(most, self._budget.limit // max(1, self._budget.writers))
        beyond = self._kept.sent - max(most, self._floor)
        self._kept.forget(min(beyond, self._cursor))

    def trim_if_quiet(self, seconds: float, most: int) -> None:
        """Keep ``most`` bytes if nothing was sent for so long; and less while memory is short."""
        quiet = trio.current_time() - self._last_sent >= seconds
        self.trim(most if quiet and not self._blocked else self._max_kept)

    @property
    def kept_bytes(self) -> int:
        """Bytes kept for a replay."""
        return self._kept.kept_bytes

    @property
    def received(self) -> int:
        """Bytes of the wire that need not come again, modulo 2^32."""
        return self._inward.received & COUNT_MASK

    @property
    def sent(self) -> int:
        """Bytes of the wire that were sent, each counted once."""
        return self._kept.sent

    @property
    def received_in_all(self) -> int:
        """Bytes of the wire that came, each counted once."""
        return self._inward.received

    # Lines

    def position(self, received: int) -> int:
        """Where a replay begins for a peer that has so many bytes, modulo 2^32.

        Raises:
          TooFarBehind: they cannot be replayed.
        """
        return self._kept.position(received)

    def detach(self) -> None:
        """Close the line in use, if there is one: it counts no more, and what it brought does."""
        if self.line is not None:
            self.line.close()
            self.line = None
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
            self._nursery = None
            self._changed.unpark_all()
            self.on_change()

    async def run(
        self,
        line: Line,
        position: int,
        *,
        greeting: bytes = b"",
        rest: bytes = b"",
        skip: int = 0,
    ) -> None:
        """Use a line, in place of any other, until it is gone.

        ``greeting`` goes ahead of everything; then what lies behind ``position``. ``rest`` came
        on the line already; ``skip`` bytes of what comes were received before. Closes the line
        in any case. Cancellation loses nothing but the line.

        Raises:
          LineBroken: the connection is gone; never returns otherwise.
          PeerError: what came was not of the peer.
        """
        self.detach()
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._attach(line, position, nursery, greeting)
                try:
                    await self._receive(line, rest, skip)
                except Exception as error:
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            line.close()
            if self.line is line:
                self.line, self._nursery = None, None
                self._changed.unpark_all()
                self.on_change()
        raise failure or LineBroken("given up for another connection")

    def _attach(self, line: Line, position: int, nursery: trio.Nursery, greeting: bytes) -> None:
        self._inward.restart()
        self._nursery = nursery
        self._cursor = position
        self._kept.forget(position)
        self._blocked = False
        if greeting and line.try_send(greeting) < len(greeting):
            raise LineBroken("the connection took no answer")
        self.line = line
        self._flush()
        self._changed.unpark_all()
        self.on_change()

    async def _receive(self, line: Line, rest: bytes, skip: int) -> None:
        await self._receiver.ready()  # what the line before has left
        data = rest or await self._read(line)
        while True:
            if skip:
                dropped = min(skip, len(data))
                data, skip = data[dropped:], skip - dropped
            self._open(data)
            await self._receiver.ready()
            data = await self._read(line)

    async def _read(self, line: Line) -> bytes:
        data = await line.receive()
        if not data:
            raise LineClosed("the peer closed the connection")
        return data

    def _open(self, data: bytes) -> None:
        inward = self._inward
        had_ended = inward.ended
        plain = inward.open(data)
        self.last_heard = trio.current_time()
        if plain:
            self._receiver.arrived(plain)
        if isinstance(self._outward, SealedOutward):
            if inward.received - self._acknowledged >= ACK_EVERY or inward.ended > had_ended:
                self._send_ack(self._outward)
            self._forget()
            self._changed.unpark_all()
        if inward.ended and not had_ended:
            self._receiver.ended()
        self._receiver.heard()
        if inward.over:
            raise PeerOver("the peer has ended the session")

    def close(self) -> None:
        """Close the line and forget everything. The link is of no use afterwards."""
        self.detach()
        self._kept.close()


class LineClosed(LineBroken):
    """The peer closed the connection in order."""


class PeerOver(LineBroken):
    """The peer has ended the session: no other line is needed."""
