"""ET's jumphost (Eternal Terminal specification 6): a session that is on another host.

The client comes here with the id and the key of its session there. What it says goes on
over a connection of ours, what the destination answers comes back, each leg with its own
replay buffer: either may be cut without the other's noticing. Nothing is read from one
leg that the other has no room for.

**One packet in, the same packet out.** Both legs have one key, and a packet's ordinal is its
nonce. A packet of ours between two of theirs would shift all that follow, and whoever sees both
legs could subtract one text from the other. So a jump says nothing of itself: KEEP_ALIVEs are
asked and answered by the ends, as with ET, and so are the counts in them, which hold for both
legs because the ordinals do. Only the first packet differs, by the two bytes that say
that the destination is no jumphost; and what a client is told that reaches no destination.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Final

import trio

from trioet.bootstrap.credentials import Credentials
from trioet.errors import LocalError, PacketError, SessionLost, SessionUsedUp
from trioet.link.dial import dial
from trioet.link.line import SocketLine
from trioet.link.reconnect import CONNECTING, DENIED_S, NO_REPLY, CannotConnect, Reconnector
from trioet.link.resumable import Refused, ResumableLink, Role
from trioet.session.terminal import LAST_WORDS_DEADLINE_S, START_DEADLINE_S
from trioet.wire.backed import ReplayBudget
from trioet.wire.messages import (
    ConnectStatus,
    InitialPayload,
    InitialResponse,
    beyond_jumphost,
    decode_initial_payload,
    decode_initial_response,
    encode_initial_response,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.sense import Sense

log = logging.getLogger(__name__)

ET_PATIENCE_S: Final = 2.5
"""How long the destination's first answer may take. A real `et` gives up after 3 s, and aborts
if one comes later (specification 7.1)."""

PATIENCE_S: Final = 12.0
"""The same where a trioet waits, which has RESPONSE_DEADLINE_S (client/app.py)."""

SUSPICIOUS_S: Final = 2.0
DEAD_S: Final = 10.0
"""A KEEP_ALIVE that was passed on for this long, and nothing came back: time to try another
connection beside, or to give this one up."""


class Jump:
    """The receiver of a client's link, and the link to where its session is.

    Has the shape of a TerminalSession for the keeper's sake.
    """

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        destination: tuple[str, int],
        budget: ReplayBudget,
    ) -> None:
        self._name = name
        self._host, self._port = destination
        self.onward = ResumableLink(
            credentials.passkey.encode(),
            Role.CLIENT,
            _FromDestination(self),
            budget=budget,
            relays=True,
        )
        self._reconnector = Reconnector(self.onward, credentials.client_id.encode(), self._dial)
        self.onward.on_change = self._reconnector.line_changed
        self._link: ResumableLink | None = None
        self._payload: InitialPayload | None = None
        self._response: InitialResponse | None = None
        self._of_client = self._of_destination = Sense((), of_client=True)
        self._begun = trio.Event()
        self._answered = trio.Event()
        self._asked = trio.Event()
        self._ended = trio.Event()
        self._error = ""
        self._over = self._left = False
        """The destination has said its last packet; the client has."""

    def __repr__(self) -> str:
        return f"<Jump {self._name} to {self._where}>"

    @property
    def _where(self) -> str:
        return f"{self._host} port {self._port}"

    @property
    def _linked(self) -> ResumableLink:
        assert self._link is not None, "run() comes first"
        return self._link

    async def _dial(self) -> SocketLine:
        return await dial(self._host, self._port)

    # Receiver: what the client says

    def packet_arrived(self, packet: Packet) -> None:
        if self._payload is None:
            self._begin(packet)
            return
        self._of_client.check(packet)
        if self._ended.is_set():
            return
        self.onward.send(packet.type, packet.payload)
        self._reconnector.typed()
        if packet.type == PacketType.KEEP_ALIVE:
            self._asked.set()
        elif packet.type == PacketType.SESSION_OVER:
            self._reconnector.denied_s = 0
            self._left = True

    async def ready(self) -> None:
        if not self._ended.is_set():
            await _room(self.onward)

    def _begin(self, packet: Packet) -> None:
        if packet.type != PacketType.INITIAL_PAYLOAD:
            raise PacketError(f"packet type {packet.type} before INITIAL_PAYLOAD")
        self._payload = decode_initial_payload(packet.payload)
        self._of_client = Sense(self._payload.features, of_client=True)
        self.onward.send(PacketType.INITIAL_PAYLOAD, beyond_jumphost(packet.payload))
        self._begun.set()

    # What the destination says

    def answer_arrived(self, packet: Packet) -> None:
        """Take the next packet from there."""
        if self._response is not None:
            self._of_destination.check(packet)
            if not self._over:  # else it is an answer to who has gone
                self._linked.send(packet.type, packet.payload)
            if packet.type == PacketType.SESSION_OVER:
                self._reconnector.denied_s = 0
                self._over = True
            return
        if packet.type != PacketType.INITIAL_RESPONSE:
            raise PacketError(f"packet type {packet.type} before INITIAL_RESPONSE")
        self._response = decode_initial_response(packet.payload)
        self._of_client = Sense(self._response.accepted, of_client=True)
        self._of_destination = Sense(self._response.accepted, of_client=False)
        if self._agreed_over:
            self._reconnector.denied_s = DENIED_S
        self._linked.send(packet.type, packet.payload)
        self._answered.set()
        if self._response.error:
            self._ended.set()

    async def client_ready(self) -> None:
        """Return when the client's leg has room for more."""
        await _room(self._linked)

    @property
    def _agreed_over(self) -> bool:
        return self._response is not None and "over" in self._response.accepted

    # The life of it

    async def run(self, link: ResumableLink) -> None:
        """Relay until the session is over and the client knows.

        Cancellation closes both legs; the session stays where it is.
        """
        self._link = link
        try:
            with trio.move_on_after(START_DEADLINE_S) as patience:
                await self._begun.wait()
                patience.deadline = math.inf
            if self._payload is None:
                log.info("session %s: no client came in %g s", self._name, START_DEADLINE_S)
                return
            await self._relay(self._payload)
        finally:
            self.onward.close()
        if self._response is None:
            response = InitialResponse(self._error.encode(errors="replace"))
            link.send(PacketType.INITIAL_RESPONSE, encode_initial_response(response))
        with trio.move_on_after(0 if self._left else LAST_WORDS_DEADLINE_S):
            await link.wait_delivered()

    def farewell(self, reason: str) -> None:
        """Nothing is said of the end: the packet would have the ordinal of another's."""

    async def _relay(self, payload: InitialPayload) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected)
            nursery.start_soon(
                self._await_answer, PATIENCE_S if payload.features else ET_PATIENCE_S
            )
            nursery.start_soon(self._watch)
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    def _end(self, error: str) -> None:
        self._error = self._error or error
        log.info("session %s: %s", self._name, error)
        self._ended.set()

    async def _keep_connected(self) -> None:
        try:
            await self._reconnector.run()
        except* (CannotConnect, Refused, SessionLost, LocalError) as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._end(self._explained(error))

    def _explained(self, error: BaseException) -> str:
        if isinstance(error, Refused) and error.status is ConnectStatus.INVALID_KEY:
            return f"{self._where} does not know the session; is another server there?"
        return f"the jumphost cannot reach {self._where}: {error}"

    async def _await_answer(self, patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            await self._answered.wait()
            return
        reason = self._reconnector.reason
        if self.onward.attached or reason == CONNECTING:
            reason = f"{NO_REPLY} within {patience_s:g} s"
        self._end(f"the jumphost cannot reach {self._where}: {reason}")

    async def _watch(self) -> None:
        """Notice a silent destination, by what it does not answer."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            since = trio.current_time()
            for patience_s, act in (
                (SUSPICIOUS_S, self._reconnector.suspect),
                (DEAD_S, self.onward.drop_proven_line),
            ):
                await trio.sleep_until(since + patience_s)
                if self.onward.last_heard >= since or self.onward.reading_paused:
                    break
                act()


class _FromDestination:
    """The receiver of the link to the destination."""

    def __init__(self, jump: Jump) -> None:
        self._jump = jump

    def packet_arrived(self, packet: Packet) -> None:
        self._jump.answer_arrived(packet)

    async def ready(self) -> None:
        await self._jump.client_ready()


async def _room(link: ResumableLink) -> None:
    # When all packets are counted, the ends say so to each other: they count the same.
    if not link.has_room():
        with suppress(SessionUsedUp):
            await link.wait_room()
