"""One who looks on: the receiver of a link of its own, at somebody's session.

It is shown what is written from a cleared screen on, and told the size of the terminal, which
is the owner's. It reads as fast as it can, and costs nobody anything: what it has not taken
is bounded by its credit and its link's window, and when the session is further ahead than the
tape is long, it begins anew with what is new. What it types counts only if it may.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from trioet import __version__
from trioet.errors import PacketError, SessionUsedUp
from trioet.link.resumable import ResumableLink
from trioet.session.audience import Audience
from trioet.session.credit import TERMINAL, Credit, Debt
from trioet.session.shell import CHUNK
from trioet.session.tape import MAX_TAPE, RECENT
from trioet.wire.channels import ChannelCredit, decode_channel, encode_channel
from trioet.wire.messages import (
    LEFT,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_initial_payload,
    decode_session_over,
    decode_terminal_buffer,
    decode_terminal_info,
    encode_initial_response,
    encode_session_over,
    encode_size,
    encode_terminal_buffer,
)
from trioet.wire.packet import Packet, PacketType

FEATURES: Final = ("acks", "over", "channels", "quiet", "size")
"""What is agreed on with viewers; ``size`` with nobody else."""

NEEDED: Final = frozenset({"acks", "over", "channels"})

MAX_KEPT: Final = 256 * 1024
"""Bytes kept for a viewer that is away: what its link had on its way, about."""

MAX_TYPED: Final = 64 * 1024
"""Bytes that a viewer has typed and the program has not read, before the viewer is made to wait."""

LAST_WORDS_S: Final = 10.0
"""How long a viewer may take to hear the end."""

OVER: Final = "the shared session is over"


class Viewer:
    """One viewer, from its first packet on."""

    def __init__(self, audience: Audience, *, write: bool) -> None:
        self._audience = audience
        self._write = write
        self._link: ResumableLink | None = None
        self._features: tuple[str, ...] | None = None
        self._credit = Credit()
        self._debt = Debt()
        self._typed = 0
        self._room = trio.lowlevel.ParkingLot()
        self._left = trio.Event()
        self._told: WindowSize | None = None
        self._place = -1
        """In the tape; -1: at no place that is kept."""

    def __repr__(self) -> str:
        return f"<Viewer write={self._write} place={self._place} {self._audience!r}>"

    @property
    def present(self) -> bool:
        """True while it is connected, and has proven to be who it is."""
        return self._link is not None and self._link.proven_line is not None

    # Receiver

    def packet_arrived(self, packet: Packet) -> None:
        if self._features is None:
            self._welcome(packet)
            return
        match packet.type:
            case PacketType.TERMINAL_BUFFER:
                self._type(decode_terminal_buffer(packet.payload))
            case PacketType.TERMINAL_INFO:
                decode_terminal_info(packet.payload)  # its own; the owner's counts
            case PacketType.CHANNEL:
                message = decode_channel(packet.payload)
                if not isinstance(message, ChannelCredit) or message.channel != TERMINAL:
                    raise PacketError("viewers have no channels")
                self._credit.grant(message.amount)
            case PacketType.SESSION_OVER:
                if decode_session_over(packet.payload).reason != LEFT:
                    raise PacketError("a SESSION_OVER that no client sends")
                self._left.set()
            case _:
                raise PacketError(f"packet type {packet.type}, which viewers do not send")

    async def ready(self) -> None:
        self._linked.dealt_with()
        while self._typed > MAX_TYPED:
            await self._room.park()

    @property
    def _linked(self) -> ResumableLink:
        assert self._link is not None, "run() comes first"
        return self._link

    def _welcome(self, packet: Packet) -> None:
        if packet.type != PacketType.INITIAL_PAYLOAD:
            raise PacketError(f"packet type {packet.type} before INITIAL_PAYLOAD")
        wished = decode_initial_payload(packet.payload).features
        self._features = tuple(name for name in FEATURES if name in wished)
        error = b""
        if not NEEDED.issubset(self._features):
            error = b"viewers need a trioet that is as new as this one"
        else:
            self._linked.agree_acks()
            self._credit.agree()
        response = InitialResponse(error, self._features, __version__)
        self._linked.send(PacketType.INITIAL_RESPONSE, encode_initial_response(response))
        self._audience.look()

    def _type(self, data: bytes) -> None:
        self._typed += len(data)
        if self._write:
            self._audience.stage.type_for(data, self._took)
        else:
            self._took(len(data))

    def _took(self, amount: int) -> None:
        self._typed -= amount
        self._room.unpark_all()
        if granted := self._debt.take(amount):
            message = encode_channel(ChannelCredit(TERMINAL, granted))
            self._linked.send(PacketType.CHANNEL, message)

    # Its life

    async def run(self, link: ResumableLink) -> None:
        """Show the session until it is over, or the viewer leaves.

        Cancellation tells nobody; say :meth:`farewell` before.
        """
        self._link = link
        link.on_change = self._audience.look
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_when_left, nursery.cancel_scope)
                with suppress(SessionUsedUp), trio.CancelScope() as showing:
                    nursery.start_soon(self._hasten, showing)
                    await self._show(link)
                self.farewell(OVER)
                with trio.move_on_after(LAST_WORDS_S):
                    await link.wait_delivered()
                nursery.cancel_scope.cancel()
        finally:
            self._audience.stage.forget_typing(self._took)

    async def _end_when_left(self, viewer: trio.CancelScope) -> None:
        await self._left.wait()
        viewer.cancel()

    async def _hasten(self, showing: trio.CancelScope) -> None:
        """Who takes nothing does not keep a session that is over."""
        await self._audience.over.wait()
        showing.deadline = trio.current_time() + LAST_WORDS_S

    def farewell(self, reason: str) -> None:
        """Tell the viewer, if it can be told, why it sees no more."""
        if self._features is not None and self._link is not None:
            over = encode_session_over(SessionOver(reason=reason))
            self._link.send(PacketType.SESSION_OVER, over)

    async def _show(self, link: ResumableLink) -> None:
        """Return when the session is over and all of it is sent, or nobody is there to see it."""
        while True:
            output = b""
            if self.present and self._features is not None:
                self._tell_size(link)
                output = self._next()
            if output:
                self._credit.spend(len(output))
                link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(output))
                await self._credit.wait()
                if not link.has_room():
                    await link.wait_room()
            elif self._audience.over.is_set():
                return
            else:
                await self._audience.changed()

    def _tell_size(self, link: ResumableLink) -> None:
        size = self._audience.stage.window_size
        if size != self._told and "size" in (self._features or ()):
            self._told = size
            link.send(PacketType.SIZE, encode_size(size))

    def _next(self) -> bytes:
        """What to show next; b"" if there is nothing."""
        tape = self._audience.tape
        if not tape.begin <= self._place <= tape.end:
            output, self._place = tape.fresh(MAX_TAPE if self._place < 0 else RECENT)
            self._audience.ask_redraw()
            return output
        output = tape.read(self._place, CHUNK)
        self._place += len(output)
        return output
