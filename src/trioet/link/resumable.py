"""ResumableLink: one peer, over however many connections it takes.

Packets go in by :meth:`ResumableLink.send` and come out at a :class:`Receiver`, each once
and in order. Lines come and go by :meth:`run_line`. The rules:

* **Prove, then replace.** A new line is provisional until a packet on it opens under the
  session's key. Until then the older line stays, and both carry the same sealed packets.
* **Count what opened.** The count of received packets moves only after a packet opened
  and the receiver took it.
* **Acknowledge.** A KEEP_ALIVE carries how many packets its sender has dealt with, in 8
  bytes big-endian. Peers that do the same get bounded data in flight and cost no memory;
  C++ peers ignore it (Eternal Terminal specification 1.7, 1.9).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Final, NoReturn, Protocol

import trio

from trioet.errors import HandshakeError, PacketError, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.lines import Lines, PeerClosed, Unproven, receive
from trioet.link.packet_attachment import PacketAttachment
from trioet.link.room import Room
from trioet.link.trial import LARGE
from trioet.wire.backed import BackedReader, BackedWriter, ReplayBudget
from trioet.wire.framing import PacketSplitter
from trioet.wire.handshake import (
    CaughtUp,
    Event,
    Handshake,
    Missed,
    PeerReceived,
    State,
    connect_request_frame,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    decode_count,
    encode_count,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.sealing import Direction, SealedBox

ACK_EVERY: Final = 66 * 1024
"""Bytes received between two acknowledgements, in a flood. A terminal's credit is granted after
as many (session/credit.py), so that the two go together: no multiple of 16 KiB, where what
packets have beside their payload would make the difference."""

MAX_KEPT: Final = 64 * 1024 * 1024
"""Bytes kept for a peer that is away or never acknowledges: what ET keeps (1.7)."""

HANDSHAKE_DEADLINE_S: Final = 10.0
"""From the first byte of a connection to the end of its headers, in all."""

MAX_PINNED: Final = 4 * 1024 * 1024
"""Bytes that the peer has acknowledged on one line and that another, which lags behind, may
still need. A line that lags more is given up."""


class Role(Enum):
    """Who sends the ConnectRequest. It decides the direction of the nonces (1.6)."""

    CLIENT = auto()
    SERVER = auto()


class Refused(TrioetError):
    """The server answered, and not with NEW_CLIENT or RETURNING_CLIENT."""

    def __init__(self, status: ConnectStatus, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return self.text or self.status.name


class Receiver(Protocol):
    """Where the packets of a link go. KEEP_ALIVE stays inside the link."""

    def packet_arrived(self, packet: Packet) -> None:
        """Take the next packet, at once.

        Raises:
          PeerError: it makes no sense. The line it came on is closed; the packet counts
              as not received.
        """

    async def ready(self) -> None:
        """Return when more packets are welcome; called after each batch.

        Must return without a checkpoint when they are welcome now.
        """


class Together:
    """A context, and any number of it within each other: ``flush()`` at the end of the outermost.

    There is one for each link: two are entered for every packet that comes.
    """

    __slots__ = ("_flush", "depth")

    def __init__(self, flush: Callable[[], None]) -> None:
        self.depth = 0
        self._flush = flush

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if not self.depth:
            self._flush()


class ResumableLink:
    """Send and receive packets across the loss of any number of lines.

    Owns no task: whoever has a line runs :meth:`run_line` for it in a nursery of their
    own.

    One that ``relays`` says nothing of itself, and hands every KEEP_ALIVE to its receiver: its
    packets have the ordinals that they have at the other end of what it is part of, where the
    same key seals them.
    """

    def __init__(
        self,
        passkey: bytes,
        role: Role,
        receiver: Receiver,
        *,
        budget: ReplayBudget | None = None,
        max_kept: int = MAX_KEPT,
        relays: bool = False,
    ) -> None:
        outward = Direction.CLIENT_TO_SERVER if role is Role.CLIENT else Direction.SERVER_TO_CLIENT
        self.role = role
        self._agreed_acks = False
        self.established = False
        """True once a connection was answered with NEW_CLIENT: the next one resumes."""
        self.last_heard = -math.inf
        """When the last packet opened, in Trio's clock."""
        self.round_trip = 0.0
        """Seconds from the last KEEP_ALIVE to its answer; 0 before the first."""
        self.bytes_replayed = 0
        """Bytes received in catch-up buffers, in all."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a line is attached, proven or gone, or has answered a KEEP_ALIVE."""
        self._receiver = receiver
        budget = budget or ReplayBudget(2 * max_kept)
        self._writer = BackedWriter(SealedBox(passkey, outward), budget)
        self._reader = BackedReader(SealedBox(passkey, outward.opposite))
        self._max_kept = max_kept
        self._relays = relays
        self._lines = Lines[PacketAttachment]()
        self._lines.on_change = self._lines_changed
        self._room = Room(self._writer, self._lines, budget, max_kept)
        self._lines.on_lost = self._room.pace.interrupted
        self._dealt_with = 0
        self._bytes_in = 0
        """Bytes of packets received so far; how many of them were dealt with, and acknowledged:"""
        self._bytes_dealt_with = self._bytes_acknowledged = 0
        self._caught_up = False
        self._asked = False
        self._paused = 0
        self._together = Together(self._lines.flush)
        self._pinged: float | None = None

    def __repr__(self) -> str:
        return (
            f"<ResumableLink {self.role.name} {self._writer!r} {self._reader!r} "
            f"{self._lines.attached!r}>"
        )

    @property
    def peer_acknowledges(self) -> bool:
        """True once the peer has sent a count with a KEEP_ALIVE, or agreed to."""
        return self._room.peer_acknowledges

    @property
    def lines_proven(self) -> int:
        """Lines that have proven themselves so far."""
        return self._lines.proven_count

    # What goes out

    def send(self, packet_type: int, payload: bytes) -> None:
        """Seal a packet and send it, now or on whichever line comes next.

        Never waits and never loses; callers with much to send await :meth:`wait_room`
        first.
        """
        self._writer.write(packet_type, payload)
        if not self._together.depth:
            self._lines.flush()
        if self._writer.kept_bytes > self._max_kept and not self.peer_acknowledges:
            self._forget_the_oldest()

    def together(self) -> Together:
        """What is sent within goes out in one piece at the end: for what follows at once, and
        without an await."""
        return self._together

    def send_bulk(self, packet_type: int, payload: bytes) -> None:
        """Send a packet of what may wait; callers await :meth:`wait_bulk_room` before each."""
        self.send(packet_type, payload)
        if self.peer_acknowledges:
            self._room.pace.sent(self._writer.sent, len(payload), trio.current_time())

    @property
    def bulk_chunk(self) -> int:
        """Bytes that the next packet of bulk should carry at most."""
        return self._room.pace.chunk

    def _forget_the_oldest(self) -> None:
        """Nothing an ET peer says lets us forget anything; but something has to go.

        What was handed over that long ago cannot still be on its way. That is so only if all
        was handed over, to a peer that has proven to be there; else nothing goes.
        """
        if any(a.proven and a.needs > self._writer.sent for a in self._lines.attached):
            self._writer.forget_beyond(self._max_kept, self._writer.sent + 1)

    def send_keepalive(self) -> None:
        """Send a KEEP_ALIVE that acknowledges what has been dealt with so far."""
        self._bytes_acknowledged = self._bytes_dealt_with
        self.send(PacketType.KEEP_ALIVE, encode_count(self._dealt_with))

    def ping(self) -> None:
        """Send a KEEP_ALIVE and time its answer."""
        if self._lines.attached:
            self._pinged = trio.current_time()
        self.send_keepalive()

    def agree_acks(self) -> None:
        """Both ends know what acks are: bound what is in flight from the first packet on.

        The server then answers no KEEP_ALIVE that acknowledges so much that it is no question.
        """
        self._room.peer_acknowledges = self._agreed_acks = True

    def has_room(self) -> bool:
        """True when the next packet would be sent soon, or may be kept."""
        return self._room.has_room()

    async def wait_room(self) -> None:
        """Wait until :meth:`has_room`. Cancellation changes nothing.

        Raises:
          SessionUsedUp: there will be none; few packets are left to say so.
        """
        await self._room.wait()

    async def wait_bulk_room(self) -> None:
        """Wait until bulk would be sent now, and nothing waits that goes before it.

        Cancellation changes nothing.

        Raises:
          SessionUsedUp: as :meth:`wait_room`.
        """
        await self._room.wait_bulk()

    async def wait_delivered(self, last: int | None = None) -> None:
        """Wait until the peer has acknowledged everything sent so far, or up to packet ``last``.

        For a peer with which no acks were agreed on, and which will not hasten to send any, also
        until it closes a line on which everything was sent; so call it last. Cancellation
        changes nothing.
        """
        last = self._writer.sent if last is None else last
        while self._writer.acknowledged < last:
            for attachment in self._lines.attached:
                if not self._agreed_acks and attachment.proven and attachment.needs > last:
                    attachment.last_words = last
                    attachment.line.shutdown()
            await self._room.changed()

    def look_for_room(self) -> None:
        """Something changed, here or in the common budget: wake who waits for room."""
        self._room.look()

    # What came in

    def dealt_with(self, *, along: bool = False) -> None:
        """All packets delivered so far have been dealt with: they may be acknowledged.

        They are, if they are many; or if something goes ``along``, which wakes the peer anyway.
        """
        self._dealt_with, self._bytes_dealt_with = self._reader.received, self._bytes_in
        due = self._bytes_dealt_with - self._bytes_acknowledged >= ACK_EVERY
        if self.peer_acknowledges and (along or self._caught_up or due):
            self._caught_up = False
            self.send_keepalive()

    @property
    def received(self) -> int:
        """Packets received so far."""
        return self._reader.received

    @property
    def sent(self) -> int:
        """Packets sent so far."""
        return self._writer.sent

    @property
    def acknowledged(self) -> int:
        """Packets that the peer has said it has."""
        return self._writer.acknowledged

    @property
    def kept_bytes(self) -> int:
        """Memory that this link's replay buffer takes."""
        return self._writer.kept_bytes

    @property
    def in_flight(self) -> int:
        """Bytes sent that the peer has not acknowledged."""
        return self._writer.unacknowledged_bytes

    @property
    def attached(self) -> bool:
        """True while there is a line, proven or not."""
        return bool(self._lines.attached)

    @property
    def reading_paused(self) -> bool:
        """True while we read nothing because the receiver is busy: silence means nothing."""
        return self._paused > 0

    def close(self) -> None:
        """Close every line and forget every packet. The link is of no use afterwards."""
        self._lines.close()
        self._writer.close()
        self.look_for_room()

    @property
    def lines(self) -> list[Line]:
        """The lines in use, oldest first."""
        return [attachment.line for attachment in self._lines.attached]

    @property
    def proven_line(self) -> Line | None:
        """The line over which the session goes: the newest that has proven itself."""
        proven = self._lines.proven
        return proven.line if proven else None

    def drop_proven_line(self) -> None:
        """Close the line that carried the session, as if the network had."""
        for attachment in self._lines.attached:
            if attachment.proven:
                attachment.line.close()

    # Lines

    async def run_client_line(self, line: Line, client_id: bytes) -> None:
        """Open a line towards a server and use it until it is gone.

        Where the server was never asked it will say NEW_CLIENT, and read packets (1.4): those
        that there are go right behind the ConnectRequest, and the first prompt comes a round
        trip sooner.

        Closes the line in any case. Cancellation loses nothing but the line.

        Raises:
          Refused: the server said no.
          LineBroken: the connection is gone, or of no use; never returns otherwise.
          PeerError: whoever is there does not speak the protocol, or lacks the key.
        """
        handshake = Handshake.client()
        attachment = self._new_attachment(line)
        request = connect_request_frame(ConnectRequest(client_id))
        if self._asked:
            attachment.greet(request)
        else:
            self._asked = True
            attachment.start(request)
        await self._run(attachment, handshake, b"")

    def note_asked(self) -> None:
        """A server has been asked, or is about to be, by somebody else on our behalf: it may
        answer the next time that we return."""
        self._asked = True

    async def run_server_line(self, line: Line, preface: bytes) -> None:
        """Answer a client whose ConnectRequest is in ``preface``; use the line till it ends.

        Closes the line in any case. Cancellation loses nothing but the line.

        Raises:
          LineBroken, PeerError: as for :meth:`run_client_line`.
          Unproven: the connection is gone, and nothing on it had opened.
        """
        await self._run(self._new_attachment(line), Handshake.server(), preface)

    def _new_attachment(self, line: Line) -> PacketAttachment:
        # A C++ peer looks at what it caught up only when something more arrives (specification
        # 1.8): who may not say something of itself keeps the last packet for that.
        held_back = 1 if self._relays else 0
        return PacketAttachment(line, self._writer, self.look_for_room, held_back=held_back)

    async def _run(
        self, attachment: PacketAttachment, handshake: Handshake, preface: bytes
    ) -> NoReturn:
        converse = partial(self._converse, attachment, handshake, preface)
        try:
            await self._lines.run(attachment, converse)
        except LineBroken as error:
            if attachment.proven or self.role is Role.CLIENT:
                if isinstance(error, PeerClosed) and attachment.last_words:
                    self._acknowledged(attachment.last_words)
                raise
            why = str(error)
        raise Unproven(why)  # and not within: of a stranger's line nothing is kept

    def _lines_changed(self) -> None:
        self.look_for_room()
        self.on_change()

    async def _converse(
        self,
        attachment: PacketAttachment,
        handshake: Handshake,
        data: bytes,
    ) -> None:
        attachment.allow(HANDSHAKE_DEADLINE_S)
        line = attachment.line
        self._handshake_events(attachment, handshake, handshake.feed(data))
        while handshake.state is not State.PACKETS:
            data = await receive(line)
            self._handshake_events(attachment, handshake, handshake.feed(data))
            await self._pause_if_busy(attachment)
        splitter = PacketSplitter()
        data = handshake.rest()
        while True:
            with self.together():
                for body in splitter.feed(data):
                    self._arrived(attachment, body)
            await self._pause_if_busy(attachment)
            data = await receive(line)

    async def _pause_if_busy(self, attachment: PacketAttachment) -> None:
        self._paused += 1
        try:
            await self._receiver.ready()
        finally:
            self._paused -= 1
        if attachment.given_up:
            raise LineBroken("given up for another connection")

    def _handshake_events(
        self,
        attachment: PacketAttachment,
        handshake: Handshake,
        events: list[Event],
    ) -> None:
        for event in events:
            match event:
                case ConnectRequest():
                    answered = self._answer(attachment, handshake)
                    self._handshake_events(attachment, handshake, answered)
                case ConnectResponse(status, text):
                    self._answered(attachment, status, text)
                case PeerReceived(count):
                    self._writer.check_received(count)
                    self._catch_up(attachment, count)
                    self._attach(attachment)
                case Missed(body):
                    self.bytes_replayed += len(body)
                    self._arrived(attachment, body)
                case CaughtUp.CAUGHT_UP:
                    if not self._relays:
                        # Proves us to the peer at once; and a C++ peer looks at what it
                        # caught up only when something more arrives (specification 1.8).
                        self.ping()
                        self._caught_up = True
        if attachment not in self._lines.attached and handshake.state is State.PACKETS:
            self._attach(attachment)
            attachment.start()

    def _answer(self, attachment: PacketAttachment, handshake: Handshake) -> list[Event]:
        """Server: say NEW_CLIENT the first time, RETURNING_CLIENT ever after (1.4)."""
        if self.established:
            status, greeting = ConnectStatus.RETURNING_CLIENT, self._sequence_header(attachment)
        else:
            status, greeting = ConnectStatus.NEW_CLIENT, b""
        self.established = True
        attachment.greet(connect_response_frame(ConnectResponse(status)) + greeting)
        return handshake.decide(status)

    def _answered(self, attachment: PacketAttachment, status: ConnectStatus, text: bytes) -> None:
        match status:
            case ConnectStatus.NEW_CLIENT:
                if self._reader.received:
                    raise HandshakeError(
                        "the server has forgotten the session and offers a new one"
                    )
                self.established = True
            case ConnectStatus.RETURNING_CLIENT:
                self.established = True
                if attachment.started:
                    raise LineBroken("the server had been asked before")
                attachment.greet(self._sequence_header(attachment))
            case _:
                raise Refused(status, text.decode(errors="replace"))

    def _sequence_header(self, attachment: PacketAttachment) -> bytes:
        attachment.next_in = self._reader.received + 1
        return sequence_header_frame(self._reader.received)

    def _catch_up(self, attachment: PacketAttachment, after: int) -> None:
        size = self._writer.size_after(after, LARGE)
        if self.role is Role.CLIENT:
            attachment.catch_up(after)
            if not self._relays:
                # It proves us to the server, which need not have served us its own first.
                self.send_keepalive()
        elif self._lines.trial.may_have(size):
            attachment.catch_up(after)
        else:
            attachment.catch_up(after, partial(self._lines.trial.wait_turn, attachment, size))

    def _attach(self, attachment: PacketAttachment) -> None:
        self._pinged = None
        self._lines.attach(attachment)

    def _arrived(self, attachment: PacketAttachment, body: bytes) -> None:
        asked = self._pinged
        packet = self._reader.open(attachment.next_in, body)
        if packet is not None:
            if packet.type == PacketType.KEEP_ALIVE:
                self._keepalive(packet.payload)
            if self._relays or packet.type != PacketType.KEEP_ALIVE:
                self._receiver.packet_arrived(packet)
            self._reader.count()
            self._bytes_in += len(body)
        attachment.next_in += 1
        if packet is None and not attachment.proven:
            return  # somebody may have copied it from the line in use
        self.last_heard = trio.current_time()
        if not attachment.proven:
            self._lines.prove(attachment)
        elif self._pinged is not asked or (
            self._relays and packet is not None and packet.type == PacketType.KEEP_ALIVE
        ):
            # A timer that waits for the answer need not fire now: one wake-up less.
            self.on_change()

    def _keepalive(self, payload: bytes) -> None:
        count = decode_count(payload)
        if count is None and payload:
            # A type travels unsealed: what was made a KEEP_ALIVE on its way must come again.
            raise PacketError(f"a KEEP_ALIVE with {len(payload)} bytes")
        if self._pinged is not None:
            self.round_trip = trio.current_time() - self._pinged
            self._pinged = None
        in_flight = self.in_flight
        if count is not None:
            self._room.peer_acknowledges = True
            self._acknowledged(count)
        if self._relays:
            return
        is_question = not self._agreed_acks or in_flight - self.in_flight < ACK_EVERY
        if self.role is Role.SERVER and is_question:
            self.send_keepalive()

    def _acknowledged(self, count: int) -> None:
        self._writer.acknowledge(count)
        self._room.pace.acknowledged(count, trio.current_time())
        needs = min((a.needs for a in self._lines.attached), default=count + 1)
        self._writer.forget(min(self._writer.acknowledged, needs - 1))
        self._writer.forget_acknowledged(MAX_PINNED)
        self.look_for_room()
