"""The steps of a :class:`journey.Journey`: what its users, the network and an attacker do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Final, Protocol

from trio.testing import wait_all_tasks_blocked

from journey import BULK, DATA, ID, Cable, Journey, RouterState
from overheard import header_in
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_CATCHUP, packet_frame
from trioet.wire.handshake import (
    catchup_entry,
    catchup_head,
    connect_request_frame,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    decode_sequence_header,
)
from trioet.wire.packet import join_body
from trioet.wire.sealing import Direction, SealedBox

HELLO: Final = connect_request_frame(ConnectRequest(ID))


class Step(Protocol):
    """Something that happens."""

    async def take(self, journey: Journey) -> None:
        """Let it happen; what follows from it need not have happened yet."""


# The users, their programs and their machines


@dataclass(frozen=True)
class Send:
    up: bool
    size: int

    async def take(self, journey: Journey) -> None:
        journey.send(self.up, self.size)


@dataclass(frozen=True)
class Pour:
    """A flood from one end, for as long as there is room."""

    up: bool

    async def take(self, journey: Journey) -> None:
        link = journey.client if self.up else journey.server
        while link.has_room():
            journey.send(self.up, BULK)


@dataclass(frozen=True)
class Probe:
    """A KEEP_ALIVE from one side."""

    up: bool

    async def take(self, journey: Journey) -> None:
        (journey.client if self.up else journey.server).ping()


@dataclass(frozen=True)
class Busy:
    up: bool
    busy: bool

    async def take(self, journey: Journey) -> None:
        journey.make_busy(self.up, self.busy)


@dataclass(frozen=True)
class Dial:
    async def take(self, journey: Journey) -> None:
        journey.dial()


@dataclass(frozen=True)
class GiveUp:
    """One side takes its line for dead."""

    up: bool

    async def take(self, journey: Journey) -> None:
        for cable in journey.cables:
            cable.whole = False
        (journey.client if self.up else journey.server).drop_proven_line()


@dataclass(frozen=True)
class Router:
    state: RouterState

    async def take(self, journey: Journey) -> None:
        journey.change_router(self.state)


# The network


@dataclass(frozen=True)
class Flow:
    """All lines carry what there is to carry."""

    async def take(self, journey: Journey) -> None:
        await journey.flow()


@dataclass(frozen=True)
class Deliver:
    """One line carries some bytes, in one direction."""

    which: int
    up: bool
    count: int

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            journey.deliver(cable, self.up, self.count)


class End(Enum):
    """How a line ends."""

    CLOSED = auto()
    RESET = auto()
    VANISHED = auto()
    HALF = auto()


@dataclass(frozen=True)
class Cut:
    which: int
    how: End

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            cable.whole = False
            match self.how:
                case End.CLOSED:
                    cable.hang_up()
                case End.RESET:
                    cable.cut()
                case End.VANISHED:
                    cable.vanish()
                case End.HALF:
                    cable.cut_half()


@dataclass(frozen=True)
class Wait:
    seconds: float

    async def take(self, journey: Journey) -> None:
        journey.pass_time(self.seconds)


# A stranger: knows the id, and what went over lines before


class Claim(Enum):
    """What an attacker's SequenceHeader is reckoned from."""

    NOTHING = auto()
    RECEIVED = auto()
    """What the peer really has received."""
    SENT = auto()
    """All that was sent to the peer."""


class Cargo(Enum):
    """What an attacker sends as a catch-up."""

    SILENCE = auto()
    EMPTY = auto()
    PROMISE = auto()
    """The announcement of the largest one there is."""
    GARBAGE = auto()
    OLD = auto()
    """Packets that have arrived before."""
    FORGED = auto()
    """Packets that nobody sealed with the key."""


@dataclass(frozen=True)
class Knock:
    """A line to the server, by somebody with the id and without the key."""

    claim: Claim
    delta: int
    cargo: Cargo

    async def take(self, journey: Journey) -> None:
        count = _claimed(self.claim, self.delta, journey.client.received, journey.server.sent)
        old = journey.overheard(up=True)[: journey.server.received]
        cargo = _cargo(self.cargo, old, Direction.CLIENT_TO_SERVER, journey.server.received)
        journey.knock(count, HELLO + sequence_header_frame(count) + cargo)
        await wait_all_tasks_blocked()
        journey.check_claim(journey.cables[-1])


@dataclass(frozen=True)
class Linger:
    """A line to the server on which nothing is read, while the session goes on."""

    async def take(self, journey: Journey) -> None:
        count = journey.server.sent
        journey.knock(count, HELLO + sequence_header_frame(count) + _catchup([]))
        await wait_all_tasks_blocked()
        journey.send(up=False, size=BULK)
        await journey.flow()


@dataclass(frozen=True)
class Replay:
    """What the client said on some line, all of it again."""

    which: int

    async def take(self, journey: Journey) -> None:
        genuine = [cable for cable in journey.cables if cable.genuine]
        if len(journey.overheard(up=True)) > journey.server.received:
            journey.relayed = True  # what nobody has heard yet is no replay
        if genuine:
            journey.knock(1 << 30, bytes(genuine[self.which % len(genuine)].up.record))


@dataclass(frozen=True)
class Impostor:
    """The client opens a line, and somebody else answers."""

    status: ConnectStatus
    claim: Claim
    delta: int
    cargo: Cargo

    async def take(self, journey: Journey) -> None:
        answer = connect_response_frame(ConnectResponse(self.status, b"no such session"))
        if self.status is ConnectStatus.RETURNING_CLIENT:
            count = _claimed(self.claim, self.delta, journey.server.received, journey.client.sent)
            answer += sequence_header_frame(count)
        old = journey.overheard(up=False)[: journey.client.received]
        answer += _cargo(self.cargo, old, Direction.SERVER_TO_CLIENT, journey.client.received)
        journey.dial_impostor(answer)


# Somebody on the way: sees, alters and holds back what goes over lines in use


@dataclass(frozen=True)
class Copy:
    """Packets that the server has from the client, again on a line of the attacker's."""

    async def take(self, journey: Journey) -> None:
        bodies = journey.overheard(up=True)[: journey.server.received]
        _say_packets(journey, bodies)


@dataclass(frozen=True)
class Overtake:
    """Packets that are still on their way to the server, on a line of the attacker's."""

    async def take(self, journey: Journey) -> None:
        journey.relayed = True
        _say_packets(journey, journey.overheard(up=True))


@dataclass(frozen=True)
class Relay:
    """The client opens a line, and somebody answers with packets that he held back."""

    claim: Claim
    delta: int

    async def take(self, journey: Journey) -> None:
        journey.relayed = True
        count = _claimed(self.claim, self.delta, journey.server.received, journey.client.sent)
        bodies = journey.overheard(up=False)[journey.client.received :]
        journey.dial_impostor(
            connect_response_frame(ConnectResponse(ConnectStatus.RETURNING_CLIENT))
            + sequence_header_frame(count)
            + _catchup(bodies)
        )


@dataclass(frozen=True)
class Retype:
    """The type of a packet under way is altered; it travels in clear."""

    which: int
    up: bool
    packet_type: int

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            for span in journey.under_way(cable, self.up)[:1]:
                cable.whole = False
                (cable.up if self.up else cable.down).stream[span.body + 1] = self.packet_type


@dataclass(frozen=True)
class Flip:
    """A byte under way is altered."""

    which: int
    up: bool
    offset: int

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            way = cable.up if self.up else cable.down
            if way.held:
                cable.whole = False
                way.stream[way.delivered + self.offset % way.held] ^= 0x41


@dataclass(frozen=True)
class Repeat:
    """A packet under way arrives twice."""

    which: int
    up: bool

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            stream = (cable.up if self.up else cable.down).stream
            for span in journey.under_way(cable, self.up)[:1]:
                cable.whole = False
                stream[span.end : span.end] = stream[span.start : span.end]


@dataclass(frozen=True)
class Swap:
    """Two packets under way change places."""

    which: int
    up: bool

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            stream = (cable.up if self.up else cable.down).stream
            spans = journey.under_way(cable, self.up)
            for first, second in pairwise(spans[:2]):
                cable.whole = False
                stream[first.start : second.end] = (
                    stream[second.start : second.end] + stream[first.start : first.end]
                )


@dataclass(frozen=True)
class Recount:
    """A SequenceHeader under way is altered; it travels in clear."""

    which: int
    up: bool
    delta: int

    async def take(self, journey: Journey) -> None:
        for cable in _pick(journey, self.which):
            way = cable.up if self.up else cable.down
            header = header_in(way.stream)
            if header is not None and header.start >= way.delivered:
                cable.whole = False
                count = decode_sequence_header(bytes(way.stream[header.body : header.end]))
                forged = sequence_header_frame(max(0, count + self.delta))
                way.stream[header.start : header.end] = forged


def _pick(journey: Journey, which: int) -> list[Cable]:
    """The cable meant, counted from the newest; none if there is none."""
    genuine = [cable for cable in journey.alive() if cable.genuine]
    return [genuine[which % len(genuine)]] if genuine else []


def _say_packets(journey: Journey, bodies: list[bytes]) -> None:
    for cable in journey.alive():
        if not cable.genuine and cable.serving:
            fresh = bodies[cable.next_in - 1 :]
            cable.next_in += len(fresh)
            journey.say(cable, b"".join(packet_frame(body) for body in fresh))
            break


def _claimed(claim: Claim, delta: int, received: int, sent: int) -> int:
    base = {Claim.NOTHING: 0, Claim.RECEIVED: received, Claim.SENT: sent}[claim]
    return max(0, base + delta)


def _cargo(cargo: Cargo, old: list[bytes], direction: Direction, received: int) -> bytes:
    match cargo:
        case Cargo.SILENCE:
            return b""
        case Cargo.EMPTY:
            return _catchup([])
        case Cargo.PROMISE:
            return HANDSHAKE_LENGTH.pack(MAX_CATCHUP)
        case Cargo.GARBAGE:
            return _catchup([b"\x00\xff" * 20])
        case Cargo.OLD:
            return _catchup(old[-2:])
        case Cargo.FORGED:
            box = SealedBox(bytes(32), direction)
            forged = join_body(DATA, box.seal(received + 1, b"<0>"))
            return _catchup([forged]) + packet_frame(forged)


def _catchup(bodies: list[bytes]) -> bytes:
    return catchup_head([len(body) for body in bodies]) + b"".join(map(catchup_entry, bodies))
