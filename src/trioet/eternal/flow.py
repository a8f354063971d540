"""Flow: one side of an eternal stream, between a link and whoever reads and writes.

What arrives is taken from the link at once and acknowledged, so that signs of life never wait
for a slow reader; what bounds it is credit. So a stream keeps at most WINDOW bytes that nobody
has read, and as much that the peer has not got, and a message more of each.

The end is said by both: who hears CLOSED answers with its own, for nobody would read what else
it has to say. When that is acknowledged, neither needs the other any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from trioet.errors import HandshakeError, PacketError, SessionUsedUp
from trioet.link.resumable import ResumableLink, Role
from trioet.link.room import WINDOW
from trioet.wire.backed import ReplayBudget
from trioet.wire.packet import Packet, PacketType
from trioet.wire.stream_messages import (
    MAX_MESSAGE,
    MESSAGE_COST,
    Answer,
    Closed,
    Credit,
    Data,
    End,
    Message,
    Part,
    StreamMessage,
    decode_stream_message,
    encode_data,
    encode_stream_message,
)

CHUNK: Final = 24 * 1024
"""Bytes in one packet of a stream at most."""

MAX_KEPT: Final = 2 * 1024 * 1024
"""Bytes kept for a peer that is away; many small packets cost more than their credit."""

GRANT: Final = WINDOW // 4
"""Bytes that were read before the peer is told."""

LAST_WORDS_S: Final = 3.0
"""How long an end that has heard and said CLOSED waits to know that the other heard it. The
other may be gone for good, when the acknowledgement was lost with a connection."""


@dataclass(frozen=True)
class LinkState:
    """How a stream stands to the network.

    ``connected``: the peer has proven to be at the other end of a connection. ``peer_name``
    says where that leads, ``reason`` why there is none; each is empty where the other is not.
    """

    connected: bool
    peer_name: str = ""
    reason: str = ""


class Flow:
    """The link's receiver, and what a stream does, without a task of its own."""

    def __init__(self, passkey: bytes, role: Role, *, budget: ReplayBudget | None = None) -> None:
        self.link = ResumableLink(passkey, role, self, budget=budget, max_kept=MAX_KEPT)
        self.link.agree_acks()
        self.link.on_change = self._line_changed
        self.on_line_change: Callable[[], None] = lambda: None
        """A line was attached, proven or lost."""
        self.on_sent: Callable[[], None] = lambda: None
        """Something was sent that the peer will answer in time."""
        self.on_both_closed: Callable[[], None] = lambda: None
        """Both sides have said their last words."""
        self.reason_away: Callable[[], str] = lambda: ""
        """Why there is no line, in a few words."""
        self.over = trio.Event()
        """Neither side needs the link any more, or it failed."""
        self.failure: Exception | None = None
        """Why the link ended, if it was not the peer's doing."""
        self.bytes_sent = self.bytes_received = 0
        self.messages_sent = self.messages_received = 0
        self.closed_here = False
        self.closed_there: Closed | None = None
        self._ended_here = self._ended_there = False
        self._closed_at: int | None = None
        """Ordinal of the packet in which we said CLOSED."""
        self._content = 0
        """Ordinal of the last packet that the peer's reader has use for."""
        self._answer_due = False
        self._may_send = WINDOW
        self._may_come = WINDOW
        self._owed = 0
        self._bytes = bytearray()
        self._messages: deque[bytes] = deque()
        self._parts: bytearray | None = None
        """Of the message that is coming in."""
        self._arrived = trio.lowlevel.ParkingLot()
        self._credited = trio.lowlevel.ParkingLot()
        self._state_changed = trio.lowlevel.ParkingLot()
        self._both_closed = trio.Event()
        self._waiting_for_room = trio.CancelScope()

    def __repr__(self) -> str:
        return (
            f"<Flow unread={len(self._bytes)} may_send={self._may_send} "
            f"closed_here={self.closed_here} closed_there={self.closed_there} {self.link!r}>"
        )

    @property
    def state(self) -> LinkState:
        """Whether there is a connection now, where it leads, or why there is none."""
        line = self.link.proven_line if not self.over.is_set() else None
        if line is not None:
            return LinkState(connected=True, peer_name=line.peer_name)
        return LinkState(connected=False, reason=str(self.failure or self.reason_away()))

    @property
    def delivered(self) -> bool:
        """The peer has said that it has all bytes and messages, and the end if one was sent."""
        return self.link.acknowledged >= self._content

    # Receiver

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type != PacketType.STREAM:
            raise PacketError(f"packet type {packet.type} in a stream")
        match decode_stream_message(packet.payload):
            case Data(data):
                self._take(len(data))
                self.bytes_received += len(data)
                if not self.closed_here:
                    self._bytes += data
            case Part(data):
                self._take_part(data)
            case Message(data):
                self._take_part(data)
                self.messages_received += 1
                if not self.closed_here:
                    self._messages.append(bytes(self._parts or b""))
                self._parts = None
            case End():
                self._ended_there = True
            case Closed() as closed:
                self.closed_there = closed
                self._wake()
            case Credit(amount):
                self._may_send += amount
                self._credited.unpark_all()
            case Answer():
                self._answer_due = True
        self._arrived.unpark_all()

    async def ready(self) -> None:
        if self.over.is_set():
            return
        with self.link.together():
            self.link.dealt_with()
            if self._answer_due:
                self._answer_due = False
                self.link.send_keepalive()
            if self.closed_there is not None and not self._both_closed.is_set():
                self.link.send_keepalive()
                self.say_closed()
                self._both_closed.set()
                self.on_both_closed()

    # What the stream does

    async def send_data(self, data: memoryview) -> None:
        """Send all of it. Cancellation leaves whole packets sent, which will be delivered.

        Raises:
          ClosedResourceError, BrokenResourceError: as every stream does.
        """
        self.check_may_send()
        while data:
            await self.wait_to_send()
            part = data[: min(CHUNK, self._may_send)]
            self._may_send -= len(part)
            self.link.send(PacketType.STREAM, encode_data(part))
            self._content = self.link.sent
            self.bytes_sent += len(part)
            self.on_sent()
            data = data[len(part) :]

    async def send_message(self, message: bytes) -> None:
        """Send one message. Cancellation leaves it either not sent, or sent as a whole.

        Raises:
          ClosedResourceError, BrokenResourceError: as every stream does.
        """
        await self.wait_to_send()
        self._may_send -= len(message) + MESSAGE_COST
        start = 0
        with self.link.together():
            while len(message) - start > CHUNK:
                self._say(Part(message[start : start + CHUNK]))
                start += CHUNK
            self._say(Message(message[start:]))
        self._content = self.link.sent
        self.messages_sent += 1

    def say_end(self) -> None:
        """Nothing more will be sent."""
        if not self._ended_here:
            self._ended_here = True
            self._say(End())
            self._content = self.link.sent

    def say_closed(self, *, aborted: bool = False) -> None:
        """Say the last words; they are sent when there is a line."""
        if self._closed_at is None and not self.over.is_set():
            self.link.send_keepalive()  # so that who hears the end knows what was received
            self._say(Closed(aborted))
            self._closed_at = self.link.sent

    def close(self, *, aborted: bool = False) -> None:
        """Nobody here will read or write any more: wake who does, and tell the peer."""
        if not self.closed_here:
            self.closed_here = True
            self._bytes.clear()
            self._messages.clear()
            self.say_closed(aborted=aborted)
            self._wake()

    def fail(self, error: Exception) -> None:
        """The link has no future."""
        if not self.over.is_set():
            self.failure = error
            self.end()

    def end(self) -> None:
        """Give the link up. Its owner closes it when nothing runs on it any more."""
        self.over.set()
        self._line_changed()
        self._wake()

    async def run(self) -> None:
        """Wait until both have closed and know it, or until failure; then end the link.

        Cancellation changes nothing.
        """
        await self._both_closed.wait()
        with trio.move_on_after(LAST_WORDS_S):
            await self.link.wait_delivered(self._closed_at)
        self.end()

    async def wait_to_send(self) -> None:
        """Wait until something may be sent.

        Raises:
          ClosedResourceError, BrokenResourceError: nothing will be.
        """
        while True:
            self.check_may_send()
            if self._may_send <= 0:
                await self._credited.park()
            elif self.link.has_room():
                return
            else:
                try:
                    with trio.CancelScope() as self._waiting_for_room:
                        await self.link.wait_room()
                except SessionUsedUp as error:
                    self.fail(error)

    def check_may_send(self) -> None:
        """
        Raises:
          ClosedResourceError: this side has said that it is done.
          BrokenResourceError: the peer is, or the link has failed.
        """
        if self.closed_here or self._ended_here:
            raise trio.ClosedResourceError("this side of the stream is closed")
        if self.failure is not None:
            raise trio.BrokenResourceError(str(self.failure)) from self.failure
        if self.closed_there is not None:
            raise trio.BrokenResourceError("the peer has closed the stream")

    async def receive_data(self, max_bytes: int | None) -> bytes:
        """Return some bytes, b"" at the end. Cancellation loses nothing.

        Raises:
          ClosedResourceError, BrokenResourceError: as every stream does.
        """
        while not self._bytes:
            if self._check_at_end():
                return b""
            await self._arrived.park()
        if max_bytes is None or max_bytes >= len(self._bytes):
            data = bytes(self._bytes)
            self._bytes.clear()
        else:
            data = bytes(self._bytes[:max_bytes])
            del self._bytes[:max_bytes]
        self._dealt_with(len(data))
        return data

    async def receive_message(self) -> bytes:
        """Return the next message. Cancellation loses nothing.

        Raises:
          EndOfChannel: none will come.
          ClosedResourceError, BrokenResourceError: as every channel does.
        """
        while not self._messages:
            if self._check_at_end():
                raise trio.EndOfChannel
            await self._arrived.park()
        message = self._messages.popleft()
        self._dealt_with(len(message) + MESSAGE_COST)
        return message

    async def wait_delivered(self) -> None:
        """Wait until the peer has all that was sent so far.

        Raises:
          BrokenResourceError: it will not.
        """
        last = self._content
        if not self.over.is_set() and self.link.acknowledged < last:
            self._say(Answer())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_when_over, nursery.cancel_scope)
                await self.link.wait_delivered(last)
                nursery.cancel_scope.cancel()
        if self.link.acknowledged < last:
            why = self.failure or "the peer has closed the stream"
            raise trio.BrokenResourceError(str(why)) from self.failure

    async def _cancel_when_over(self, scope: trio.CancelScope) -> None:
        await self.over.wait()
        scope.cancel()

    async def wait_away(self, seconds: float) -> None:
        """Wait until the peer has been away for so long."""
        while True:
            while self.state.connected:
                await self._state_changed.park()
            with trio.move_on_after(seconds) as patience:
                while not self.state.connected:
                    await self._state_changed.park()
            if patience.cancelled_caught:
                return

    async def wait_connected(self) -> None:
        """Wait until the peer has proven to be there, or until the flow is over."""
        while not (self.state.connected or self.over.is_set()):
            await self._state_changed.park()

    async def wait_state(self, seen: LinkState) -> LinkState:
        """Wait until the state is another than ``seen``; return it."""
        while self.state == seen:
            await self._state_changed.park()
        return self.state

    # Inside

    def _say(self, message: StreamMessage) -> None:
        if self.over.is_set():
            return
        self.link.send(PacketType.STREAM, encode_stream_message(message))
        self.on_sent()

    def _take(self, cost: int) -> None:
        if cost > self._may_come:
            # It would come again for ever.
            self.fail(HandshakeError("the peer sends more than it may"))
            raise PacketError("more came than there was credit for")
        self._may_come -= cost

    def _take_part(self, data: bytes) -> None:
        if self._parts is None:
            # It may be larger than what was left, for then no other may come.
            self._take(1)
            self._may_come -= MESSAGE_COST - 1
            self._parts = bytearray()
        self._may_come -= len(data)
        if len(self._parts) + len(data) > MAX_MESSAGE:
            self.fail(HandshakeError("the peer sends a message that is too long"))
            raise PacketError("a message that is too long")
        self._parts += data

    def _dealt_with(self, cost: int) -> None:
        self._owed += cost
        if self._owed >= GRANT and self.closed_there is None:
            self._may_come += self._owed
            self._say(Credit(self._owed))
            self._owed = 0

    def _check_at_end(self) -> bool:
        if self.closed_here:
            raise trio.ClosedResourceError("this stream is closed")
        if self._ended_there:
            return True
        if self.closed_there is not None:
            if self.closed_there.aborted:
                raise trio.BrokenResourceError("the peer has aborted the stream")
            return True
        if self.failure is not None:
            raise trio.BrokenResourceError(str(self.failure)) from self.failure
        return False

    def _line_changed(self) -> None:
        self.on_line_change()
        self._state_changed.unpark_all()

    def _wake(self) -> None:
        self._waiting_for_room.cancel()
        self._arrived.unpark_all()
        self._credited.unpark_all()
