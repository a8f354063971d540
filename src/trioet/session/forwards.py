"""All forwarded connections of a session, at one end of it.

Both ends are alike: sockets that were accepted here become channels that the peer is asked
to connect, and channels that the peer opens become sockets that are connected here. Which
of the latter are allowed is for the client or the server to say (:class:`Policy`).

Keystrokes and the screen go first. Bulk is sealed only when the kernel takes it at once,
one packet at a time, by one channel after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol
from weakref import WeakSet

import trio

from trioet.errors import SessionUsedUp
from trioet.link.resumable import ResumableLink
from trioet.session.channel import FIRST_CREDIT, Channel, Traffic
from trioet.session.credit import TERMINAL
from trioet.session.datagrams import Datagrams
from trioet.session.descriptors import for_tunnels
from trioet.session.destinations import CannotReach, connect, connect_datagrams
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
    TrioetChannels,
    Unlisten,
)
from trioet.wire.et_channels import EtChannels
from trioet.wire.forward import Address, Endpoint
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.packet import Packet
from trioet.wire.reach import Failure

log = logging.getLogger(__name__)

MAX_CHANNELS: Final = 1024
"""Of a session, opened by either side, at each end."""

EARLY: Final = 16 * 1024
"""Bytes that may be said on a channel before the peer has answered: a request and its answer
take one round trip. They are kept until the destination is connected."""

MAX_CONNECTING: Final = 64
"""Connections of a session that are being made at once; others wait for their turn."""

MAX_SAID_EARLY: Final = 64
"""Messages in which they come."""

MAX_EXTRA: Final = 64 * 1024 * 1024
"""Bytes that a session's channels may have in credit beyond the first of each."""

MAX_UNREAD: Final = 64 * 1024 * 1024
"""Bytes from a peer without credit (a real ET) that applications have not read yet."""

STALLED_S: Final = 1.0
"""With so much unread: who takes nothing for this long loses its connection. Till then the
whole link waits, the terminal too."""


_all: Final[WeakSet[Forwards]] = WeakSet()
"""Of this process: they share its descriptors."""


class Policy(Protocol):
    """What client and server decide for themselves."""

    def admit(self, message: ChannelOpen) -> tuple[Endpoint, Traffic] | None:
        """Where a channel leads that the peer opens; None if it may not."""

    def listen_said(self, message: Listen | Listening | Unlisten) -> None:
        """The peer said something about listening."""

    def credited(self, amount: int) -> None:
        """The peer has dealt with so many bytes of the terminal."""


class _Opening:
    """A channel that the peer was asked to connect."""

    def __init__(self, channel: Channel | Datagrams) -> None:
        self.channel = channel
        self.answered = trio.Event()
        self.refusal: ChannelRefused | None = None

    def check(self) -> None:
        """Raise CannotReach if the peer refused it."""
        if self.refusal is not None:
            raise CannotReach(self.refusal.why, self.refusal.text)


class _Reaching:
    """A destination that is being connected, and what the peer says to it meanwhile."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.said: list[ChannelData | ChannelEnd] = []
        self._size = 0

    def keep(self, message: ChannelData | ChannelEnd) -> bool:
        """Keep it for later; False if the peer says more than it may."""
        self.said.append(message)
        self._size += len(message.data) if isinstance(message, ChannelData) else 0
        return self._size <= EARLY and len(self.said) <= MAX_SAID_EARLY


class Forwards:
    """The channels of one end. Its tasks run in the session's nursery."""

    def __init__(
        self,
        link: ResumableLink,
        peer: TrioetChannels | EtChannels,
        policy: Policy,
        nursery: trio.Nursery,
        first_number: int,
    ) -> None:
        """``first_number`` is 1 for the client and 2 for the server (channels.py)."""
        self.half_close = peer.half_close
        self.credit = peer.credit
        self.turn = trio.Lock()
        self._link = link
        self._peer = peer
        self._policy = policy
        self._nursery = nursery
        self._next = first_number
        self._channels: dict[int, Channel | Datagrams] = {}
        self._openings: dict[int, _Opening] = {}
        self._reaching: dict[int, _Reaching] = {}
        self._early = EARLY if peer.early else 0
        self._connecting = trio.Semaphore(MAX_CONNECTING)
        self._extra = 0
        self._unread = 0
        self._drained = trio.lowlevel.ParkingLot()
        self._fewer = trio.lowlevel.ParkingLot()
        _all.add(self)

    def __repr__(self) -> str:
        return f"<Forwards channels={len(self._channels)} reaching={len(self._reaching)}>"

    @property
    def streams(self) -> list[Channel]:
        """The channels that are connected, without those of datagrams."""
        return [known for known in self._channels.values() if isinstance(known, Channel)]

    # Carrier

    def say(self, message: ChannelMessage) -> None:
        packet = self._peer.encode(message)
        if packet is not None:
            self._link.send(*packet)

    async def wait_room(self) -> int:
        await self._link.wait_bulk_room()
        return self._link.bulk_chunk

    def say_bulk(self, message: ChannelData) -> None:
        packet = self._peer.encode(message)
        if packet is not None:
            self._link.send_bulk(*packet)

    def together(self) -> AbstractContextManager[None]:
        return self._link.together()

    def may_grow(self, amount: int) -> bool:
        if self._extra + amount > MAX_EXTRA:
            return False
        self._extra += amount
        return True

    def unread(self, change: int) -> None:
        self._unread += change
        if change < 0:
            self._drained.unpark_all()

    async def ready(self) -> None:
        """Wait until more may come from a peer that knows no credit."""
        while self._unread > MAX_UNREAD and not self.credit:
            with trio.move_on_after(STALLED_S) as patience:
                await self._drained.park()
            if patience.cancelled_caught:
                self._end_the_slowest()

    def _end_the_slowest(self) -> None:
        slowest = max(self.streams, key=lambda channel: channel.unread, default=None)
        if slowest is not None and slowest.unread:
            log.warning("%s: a connection was reset: its application reads nothing", slowest.tunnel)
            slowest.abort()

    # Outward: somebody connected here

    @property
    def full(self) -> bool:
        """True when no more channels may be opened: here, or in the whole process."""
        return self._count >= MAX_CHANNELS or sum(one._count for one in _all) >= for_tunnels()

    @property
    def _count(self) -> int:
        return len(self._channels) + len(self._openings) + len(self._reaching)

    async def wait_not_full(self) -> None:
        """Wait until another channel may be opened."""
        while self.full:
            await self._fewer.park()

    def _one_less(self) -> None:
        for one in _all:
            one._fewer.unpark_all()

    def new_number(self) -> int:
        """A number for a channel that is opened here."""
        number, self._next = self._next, self._next + 2
        return number

    async def open(
        self, channel: Channel | Datagrams, listen: int, destination: Endpoint | None
    ) -> None:
        """Ask the peer to connect a channel, which then is to be :meth:`run`; wait while there
        are too many.

        Cancellation tells the peer to forget it.

        Raises:
          CannotReach: the peer could not.
        """
        opening = await self._ask(channel, listen, destination)
        try:
            await opening.answered.wait()
        except trio.Cancelled:
            self._channels.pop(channel.number, None)
            self._forget(channel.number)
            raise
        opening.check()

    async def open_and_run(
        self, channel: Channel, listen: int, destination: Endpoint | None
    ) -> None:
        """The same as :meth:`open` and :meth:`run`, and what the application says meanwhile is
        on its way already, where the peer expects that.

        Closes the socket once the peer was asked.
        """
        opening = await self._ask(channel, listen, destination)
        try:
            await self.run(channel)
        finally:
            if channel.number in self._openings:
                self._forget(channel.number)
        opening.check()

    async def _ask(
        self, channel: Channel | Datagrams, listen: int, destination: Endpoint | None
    ) -> _Opening:
        await self.wait_not_full()
        opening = self._openings[channel.number] = _Opening(channel)
        datagrams = isinstance(channel, Datagrams)
        credit = 0 if datagrams else FIRST_CREDIT
        self.say(ChannelOpen(channel.number, listen, destination, credit, datagrams))
        channel.credited(self._early)
        return opening

    def _forget(self, number: int) -> None:
        self._openings.pop(number, None)
        self._one_less()
        self.say(ChannelReset(number))

    def start(self, serve: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Start a task for a connection. A fault of ours in it costs that connection only."""
        self._nursery.start_soon(_guarded, serve, *arguments)

    async def run(self, channel: Channel | Datagrams) -> None:
        """Carry a channel to its end. Cancellation closes its socket."""
        try:
            await channel.run()
        except* SessionUsedUp:
            log.info("channel %d: the session has come to its end", channel.number)
        finally:
            self._channels.pop(channel.number, None)
            self._one_less()

    # Inward: what the peer says

    def arrived(self, packet: Packet) -> None:
        """Take a packet of the peer's.

        Raises:
          PeerError: it makes no sense.
        """
        message = self._peer.decode(packet)
        if self._nursery.cancel_scope.cancel_called:
            return  # the session is over
        match message:
            case None:
                pass  # of what is over here, and the peer did not know yet
            case ChannelOpen(channel):
                self._asked(channel, message)
            case ChannelOpened() | ChannelRefused():
                self._answered(message)
            case Listen() | Listening() | Unlisten():
                self._policy.listen_said(message)
            case ChannelCredit(channel, amount) if channel == TERMINAL:
                self._policy.credited(amount)
            case ChannelReset(channel) if channel in self._reaching:
                self._reaching[channel].scope.cancel()
            case ChannelData(channel) | ChannelEnd(channel) if channel in self._reaching:
                self._said_early(channel, message)
            case _:
                self._tell(message)

    def _answered(self, message: ChannelOpened | ChannelRefused) -> None:
        number = message.channel
        opening = self._openings.pop(number, None)
        if isinstance(message, ChannelRefused):
            if opening is not None:
                self._one_less()
                opening.refusal = message
                opening.answered.set()
                opening.channel.was_reset()
        elif opening is None:
            self.say(ChannelReset(number))  # whoever wanted it is gone
        else:
            # At once: the next packet may bring what the destination says.
            self._channels[number] = opening.channel
            opening.channel.credited(message.credit)
            opening.answered.set()

    def _tell(self, message: ChannelData | ChannelCredit | ChannelEnd | ChannelReset) -> None:
        channel = self._channels.get(message.channel)
        if channel is None:
            return
        match message:
            case ChannelData(_, data):
                channel.arrived(data)
            case ChannelCredit(_, amount):
                channel.credited(amount)
            case ChannelEnd():
                channel.ended()
            case ChannelReset():
                channel.was_reset()

    def _said_early(self, number: int, message: ChannelData | ChannelEnd) -> None:
        reaching = self._reaching[number]
        if not reaching.keep(message):
            self._refuse(number, Failure.GENERAL, "too much was said before it was connected")
            reaching.scope.cancel()

    def _asked(self, number: int, message: ChannelOpen) -> None:
        if self.full:
            self._refuse(number, Failure.GENERAL, "too many connections")
        elif not self._may_be_opened(number):
            self._refuse(number, Failure.GENERAL, f"channel {number} cannot be opened")
        else:
            self._reaching[number] = _Reaching()
            self.start(self._reach, number, message, self._reaching[number])

    def _may_be_opened(self, number: int) -> bool:
        theirs = number % 2 != self._next % 2 and number != TERMINAL
        return theirs and number not in self._channels and number not in self._reaching

    def _refuse(self, number: int, why: Failure, text: str) -> None:
        self.say(ChannelRefused(number, why, text))

    async def _reach(self, number: int, message: ChannelOpen, reaching: _Reaching) -> None:
        channel: Channel | Datagrams | None = None
        try:
            with reaching.scope:
                channel = await self._connect(number, message)
        except CannotReach as error:
            self._refuse(number, error.failure, str(error))
        finally:
            del self._reaching[number]
            self._one_less()
        if channel is not None:
            self._channels[number] = channel
            channel.credited(message.credit)
            for said in reaching.said:
                self._tell(said)
            self.say(ChannelOpened(number, FIRST_CREDIT - self._early))
            await self.run(channel)

    async def _connect(self, number: int, message: ChannelOpen) -> Channel | Datagrams:
        admitted = self._policy.admit(message)
        if admitted is None:
            raise CannotReach(Failure.NOT_ALLOWED, "nobody asked for that")
        where, traffic = admitted
        async with self._connecting:
            if not message.datagrams:
                sock = await connect(where)
                return Channel(number, sock, self, traffic)
            if not isinstance(where, Address):
                raise CannotReach(Failure.GENERAL, f"{where} takes no datagrams")
            return Datagrams.connected(number, self, await connect_datagrams(where), traffic)


async def _guarded(serve: Callable[..., Awaitable[None]], *arguments: object) -> None:
    try:
        await serve(*arguments)
    except* Exception:
        log.exception("a fault in trioet; please report it")
