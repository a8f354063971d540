"""A session under way: two links, the cables between them, a router, and an attacker.

Both links are the real ones. Everything between them happens step by step, and after each
step :meth:`Journey.check` compares what each end has with what the other sent. Who the
attacker is differs: a stranger knows the client id and what went over lines that are gone;
somebody on the way also holds back, alters and answers what goes over lines in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum, auto
from functools import partial
from typing import Final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from overheard import LENGTH, Span, is_returning, packets_in
from steered import SteeredCable
from trioet.errors import PacketError, TrioetError
from trioet.link.line import LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.wire.packet import Packet

KEY: Final = b"12345678901234567890123456789012"
ID: Final = b"1234567890123456"
DATA: Final = 1

CAPACITY: Final = 16 * 1024
"""Bytes that one direction of a cable holds, as the buffers of two kernels do."""

MAX_KEPT: Final = 600_000
"""Bytes that a link keeps for a peer that is away."""

SMALL: Final = 200
"""Bytes of what is sent without asking for room: a key, a probe."""

BULK: Final = 150_000
"""Bytes of the largest packet that is sent, and only if there is room."""

MAX_ON_TRIAL: Final = 2

TRIAL_S: Final = 60.0
"""No line stays for so long without a byte and without proof: 10 s to say whose it is, 15 s
to prove it, 10 s until its turn for a large catch-up has come, and 15 s from there."""

HOME: Final = "203.0.113.7"
STRANGER: Final = "198.51.100.1"

_here: ContextVar[Cable] = ContextVar("_here")
"""The cable whose line this task runs."""


class Violation(AssertionError):
    """A promise of the link is broken."""


class RouterState(Enum):
    DOWN = auto()
    STARTING = auto()
    """It takes connections, and does not know yet where they lead."""
    UP = auto()


class Cable(SteeredCable):
    """A cable, and what the test knows of it."""

    def __init__(self, source: str) -> None:
        super().__init__(source, CAPACITY)
        self.genuine = source == HOME
        """One that our client opened, and our server answers."""
        self.whole = True
        """Nothing has happened to it, and nothing to what it carries."""
        self.in_door = False
        """In the router, which waits for a ConnectRequest or for its keeper."""
        self.serving = False
        """The server's link runs it."""
        self.idle_s = 0.0
        """For how long it has carried nothing."""
        self.claims = 0
        """How many packets its opener says to have; an attacker's cable."""
        self.next_in = 1
        """Ordinal of the packet that the server expects first; an attacker's cable."""

    def __repr__(self) -> str:
        return f"<Cable genuine={self.genuine} whole={self.whole} idle={self.idle_s}s>"


class Desk:
    """Where packets arrive: compares each with what was sent."""

    def __init__(self, sent: list[bytes]) -> None:
        self.link: ResumableLink | None = None
        self.taken = 0
        self.busy: trio.Event | None = None
        self.complaint = ""
        self._sent = sent

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type != DATA or not packet.payload.startswith(b"<"):
            raise PacketError("makes no sense")
        if self.taken >= len(self._sent) or packet.payload != self._sent[self.taken]:
            due = [sent[:6] for sent in self._sent[self.taken : self.taken + 1]]
            self.complaint = self.complaint or f"{packet.payload[:6]!r} came, not {due}"
        self.taken += 1

    async def ready(self) -> None:
        if self.busy is not None:
            await self.busy.wait()
        assert self.link is not None
        self.link.dealt_with()

    @property
    def missing(self) -> int:
        return len(self._sent) - self.taken


class Journey:
    """One example of a test: what was sent, what has come, and everything in between."""

    def __init__(self, nursery: trio.Nursery, clock: MockClock) -> None:
        self.clock = clock
        self.sent_up: list[bytes] = []
        self.sent_down: list[bytes] = []
        self.at_client, self.at_server = Desk(self.sent_down), Desk(self.sent_up)
        self.client = ResumableLink(KEY, Role.CLIENT, self.at_client, max_kept=MAX_KEPT)
        self.server = ResumableLink(KEY, Role.SERVER, self.at_server, max_kept=MAX_KEPT)
        self.cables: list[Cable] = []
        self.router = RouterState.UP
        self.relayed = False
        """The attacker has been the network: what he forwarded has proven his lines."""
        self.ends: list[str] = []
        """How lines ended, for whoever looks for the reason of a violation."""
        self._nursery = nursery
        self._proven: dict[Role, list[Cable]] = {Role.CLIENT: [], Role.SERVER: []}
        for link, desk in ((self.client, self.at_client), (self.server, self.at_server)):
            desk.link = link
            link.on_change = partial(self._note_proof, link)
            link.agree_acks()

    def _note_proof(self, link: ResumableLink) -> None:
        if link.lines_proven > len(self._proven[link.role]):
            self._proven[link.role].append(_here.get())

    # What the steps are made of

    def send(self, up: bool, size: int) -> None:
        """Send a packet from one end; bulk waits for room, so here it is not sent."""
        link, sent = (self.client, self.sent_up) if up else (self.server, self.sent_down)
        if size > SMALL and not link.has_room():
            return
        payload = b"<%d>" % len(sent)
        sent.append(payload + bytes(max(0, size - len(payload))))
        link.send(DATA, sent[-1])

    def dial(self) -> None:
        """The client opens a line."""
        cable = self._lay(HOME)
        self._nursery.start_soon(self._run, self.client.run_client_line, cable, cable.client, ID)
        if self.router is RouterState.DOWN:
            cable.cut()
        else:
            cable.in_door = True

    def dial_impostor(self, answer: bytes) -> None:
        """The client opens a line, and the attacker answers it."""
        cable = self._lay(STRANGER)
        self._nursery.start_soon(self._run, self.client.run_client_line, cable, cable.client, ID)
        cable.down.capacity = cable.down.held + len(answer)
        cable.server.try_send(answer)
        cable.deliver(up=False)

    def knock(self, claims: int, words: bytes) -> None:
        """The attacker opens a line to the server; ``words`` begin with a ConnectRequest."""
        cable = self._lay(STRANGER)
        cable.claims = claims
        cable.next_in = self.server.received + 1
        cable.in_door = True
        self.say(cable, words)

    def say(self, cable: Cable, words: bytes) -> None:
        """The attacker writes on a line of his own."""
        cable.up.capacity = cable.up.held + len(words)
        if not cable.client.reset:
            cable.client.try_send(words)
            self.deliver(cable, up=True)

    def deliver(self, cable: Cable, up: bool, count: int = 1 << 40) -> bool:
        """Let bytes arrive; the router hands on a connection that has said whose it is."""
        moved = cable.deliver(up, count)
        if moved:
            cable.idle_s = 0.0
        self._door(cable)
        return moved

    def change_router(self, state: RouterState) -> None:
        """Stop it, start it, or let it know its keepers again. Whoever is in it goes with it."""
        self.router = state
        for cable in self.cables:
            if state is RouterState.DOWN and cable.in_door:
                cable.in_door = False
                cable.cut()
            self._door(cable)

    def pass_time(self, seconds: float) -> None:
        self.clock.jump(seconds)
        for cable in self.cables:
            cable.idle_s += seconds

    def make_busy(self, up: bool, busy: bool) -> None:
        """The program or the terminal takes no more for a while."""
        desk = self.at_server if up else self.at_client
        if desk.busy is not None:
            desk.busy.set()
        desk.busy = trio.Event() if busy else None

    def alive(self) -> list[Cable]:
        """The cables that may still carry something, the newest first."""
        return [
            cable
            for cable in reversed(self.cables)
            if not cable.lost and not (cable.client.gone and cable.server.gone)
        ]

    def overheard(self, up: bool) -> list[bytes]:
        """The bodies of all packets that ever went one way, in the order of their ordinals."""
        bodies: dict[bytes, None] = {}
        for cable in self.cables:
            if cable.genuine:
                way = cable.up if up else cable.down
                for span in packets_in(way.record, is_returning(cable.down.record)):
                    bodies[bytes(way.record[span.body : span.end])] = None
        return list(bodies)

    def under_way(self, cable: Cable, up: bool) -> list[Span]:
        """The packets on a cable of which nothing has been delivered."""
        way = cable.up if up else cable.down
        spans = packets_in(way.stream, is_returning(cable.down.stream))
        return [span for span in spans if span.start >= way.delivered]

    async def flow(self) -> None:
        """Let everything arrive, and whatever is said in answer."""
        moved = True
        while moved:
            moved = False
            for cable in self.alive():
                if cable.genuine:
                    up, down = self.deliver(cable, up=True), self.deliver(cable, up=False)
                    moved = moved or up or down
            await wait_all_tasks_blocked()
            self.check()

    # What must hold

    def check(self) -> None:
        """Everything that holds at any time.

        Raises:
          Violation: it does not.
        """
        for name, desk, link in (
            ("server", self.at_server, self.server),
            ("client", self.at_client, self.client),
        ):
            if desk.complaint:
                raise Violation(f"at the {name}: {desk.complaint}")
            if link.kept_bytes > MAX_KEPT + 2 * BULK:
                raise Violation(f"the {name} keeps {link.kept_bytes} bytes")
        if self.server.received > self.client.sent or self.client.received > self.server.sent:
            raise Violation("more packets were counted than were sent")
        on_trial = [c for c in self._served() if c not in self._proven[Role.SERVER]]
        if len(on_trial) > MAX_ON_TRIAL:
            raise Violation(f"{len(on_trial)} lines are on trial")
        if any(cable.idle_s > TRIAL_S for cable in on_trial):
            raise Violation("a line stays without proof")
        self._check_none_displaced(Role.SERVER)
        self._check_none_displaced(Role.CLIENT)

    def check_claim(self, cable: Cable) -> None:
        """Nobody is served who says to have less than the client has proven to have."""
        served = cable.serving and not cable.server.closed
        if served and cable.claims < self.server._writer.acknowledged:
            raise Violation(f"a line that claims {cable.claims} packets is served")

    def _check_none_displaced(self, role: Role) -> None:
        """The line proven last stays, unless something happened to it."""
        for cable in self._proven[role][-1:]:
            if not cable.genuine:
                if not self.relayed:
                    raise Violation(f"the {role.name.lower()} takes a stranger for its peer")
                break
            ours, theirs = cable.server, cable.client
            if role is Role.CLIENT:
                ours, theirs = theirs, ours
            if cable.whole and ours.closed and not theirs.closed:
                raise Violation(f"the {role.name.lower()} gave up a line that worked")

    async def arrive(self) -> None:
        """The attacker is gone and the network is good: everything comes, and life goes on."""
        for cable in self.cables:
            if not cable.genuine:
                cable.cut()
        self.change_router(RouterState.UP)
        self.make_busy(up=True, busy=False)
        self.make_busy(up=False, busy=False)
        await self.flow()
        for _ in range(4):
            self.send(up=True, size=10)
            self.send(up=False, size=10)
            await self.flow()
            if not self.at_client.missing and not self.at_server.missing:
                return
            for cable in self.cables:
                cable.whole = False
            self.client.drop_proven_line()
            self.pass_time(TRIAL_S / 2)
            await wait_all_tasks_blocked()
            self.dial()
        raise Violation(
            f"{self.at_client.missing} packets never reach the client, "
            f"{self.at_server.missing} never the server"
        )

    # Inside

    def _lay(self, source: str) -> Cable:
        cable = Cable(source)
        self.cables.append(cable)
        return cable

    def _door(self, cable: Cable) -> None:
        heard = cable.up.arrived
        whole = LENGTH + int.from_bytes(heard[:LENGTH], "little")
        if not cable.in_door or self.router is not RouterState.UP or len(heard) < max(9, whole):
            return
        preface = bytes(heard)
        heard.clear()
        cable.in_door = False
        cable.serving, cable.idle_s = True, 0.0
        self._nursery.start_soon(
            self._run, self.server.run_server_line, cable, cable.server, preface
        )

    async def _run(self, run_line: Callable[..., object], cable: Cable, *arguments: object) -> None:
        _here.set(cable)
        try:
            await run_line(*arguments)  # type: ignore[misc]
        except (LineBroken, TrioetError) as error:
            self.ends.append(f"{type(error).__name__}: {error}")

    def _served(self) -> Iterator[Cable]:
        return (c for c in self.cables if c.serving and not c.server.closed)
