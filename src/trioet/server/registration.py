"""A keeper's side of its registration with a router.

Comes back by itself when the router is restarted, with every id that is still alive. An id
that somebody else took in the meantime is offered again, until it is ours.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable
from typing import Final

import trio

from trioet.errors import MessageError
from trioet.server.appearance import watch_appearance
from trioet.server.local import LOCAL_VERSION, LocalChannel, Message, connect_local
from trioet.wire.forward import Address

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
PAUSE_SHARE: Final = 0.1
"""Pauses between two tries to reach a router that is gone grow to this share of the time that it
was away: so nobody waits much longer for the keeper than for the router."""

MAX_PAUSE_S: Final = 5.0
"""Longest pause between two tries to reach a router that is gone. Must stay well below
the router's own patience, :data:`trioet.server.router.GRACE_S`."""

LOOKED_FOR_S: Final = 60.0
"""A router that has been gone for longer, or does not serve its socket for longer, is no longer
looked for, but waited for: where the system will tell that a new socket is there."""

HUNG_UP_S: Final = 1.0
"""Who hangs up sooner, and has answered nothing, does not want us, because this user has too many
keepers, say: the next try comes so much later."""

RESTART_S: Final = 2.0
"""A router that went away less than this ago may be restarting: it is waited for."""

OFFER_AGAIN_S: Final = 10.0
"""How often ids are offered again that the router refused on our return. Must stay below
:data:`trioet.server.router.GRACE_S`, within which an id that was let go is not called unknown."""

IDS_PER_MESSAGE: Final = 256
"""So that a message stays well below :data:`trioet.server.local.MAX_MESSAGE`."""

RELAYS_PER_MESSAGE: Final = 8
"""The same, where the places that relays lead to are told as well, in 1,530 bytes at most."""


class RouterRegistration:
    """The ids that one router shall send to this keeper."""

    def __init__(
        self,
        path: str,
        deliver: Callable[[bytes, socket.socket, bytes], None],
        share: Callable[[int], None],
        end_relay: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.relaying = "any"
        """Where the router's administrator lets relays lead: ``any``, ``some`` or ``none``."""
        self.port = 0
        """The router's TCP port, once it has answered."""
        self._deliver = deliver
        self._share = share
        self._end_relay = end_relay
        self._ids: set[bytes] = set()
        self._relays: dict[bytes, Address] = {}
        """Those of the ids that are relays', and where they lead."""
        self._channel: LocalChannel | None = None
        self._lost_at = -math.inf
        self._tried = trio.lowlevel.ParkingLot()
        """Who waits for the next try to come back."""
        self._pausing = trio.lowlevel.ParkingLot()
        """Between two tries; to unpark it ends the pause."""
        self._connected_at = -math.inf
        self._looked_for_since = -math.inf
        self._is_watched = False
        """It is told when the router's socket appears."""
        self._is_absent = False
        """The last try found nobody there, and did not fail otherwise."""
        self._asked = 0
        self._answered = 0
        self._answers = trio.lowlevel.ParkingLot()
        self._refused: set[bytes] = set()
        """Ids of ours that the router says somebody else has."""

    @property
    def is_connected(self) -> bool:
        """The router is there; else it is awaited."""
        return self._channel is not None

    def __repr__(self) -> str:
        state = "connected" if self._channel else "away"
        return f"<RouterRegistration {self.path} {state} ids={len(self._ids)}>"

    async def connect(self) -> bool:
        """Try once to reach the router; False when nobody is there."""
        try:
            self._channel = await connect_local(self.path)
        except OSError as error:
            self._is_absent = isinstance(error, FileNotFoundError | ConnectionRefusedError)
            return False
        self._connected_at = trio.current_time()
        return True

    async def is_back(self) -> bool:
        """True if the router is there. :meth:`run` must be running.

        One that went away less than RESTART_S ago is waited for; one that went before is looked
        for once more. Cancellation changes nothing.
        """
        with trio.move_on_at(self._lost_at + RESTART_S):
            while self._channel is None:
                await self._tried.park()
        if self._channel is None:
            self._pausing.unpark_all()
            await self._tried.park()
        return self._channel is not None

    async def register(self, client_id: bytes, relay_to: Address | None = None) -> bool:
        """Register an id, of a session or of a relay; False when the router refuses it.

        Waits for the answer. Cancellation leaves the id registered; :meth:`remove` it.
        """
        self._ids.add(client_id)
        if relay_to is not None:
            self._relays[client_id] = relay_to
        self._add([client_id])
        asked_on, mine = self._channel, self._asked
        while asked_on is not None and self._channel is asked_on and self._answered < mine:
            await self._answers.park()
        if client_id in self._refused:
            self._forget(client_id)
            return False
        return True

    def remove(self, client_id: bytes) -> None:
        """The session with this id is over."""
        self._forget(client_id)
        self._send({"remove": [client_id.decode("ascii")]})

    def _forget(self, client_id: bytes) -> None:
        self._ids.discard(client_id)
        self._refused.discard(client_id)
        self._relays.pop(client_id, None)

    async def run(self) -> None:
        """Serve the registration until cancelled; connects again whenever it is lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._offer_again)
            while True:
                if self._channel is not None:
                    await self._follow(self._channel)
                    log.info("the router at %s went away", self.path)
                await self._come_back(nursery)

    async def _offer_again(self) -> None:
        while True:
            while not self._refused:
                await self._answers.park()
            await trio.sleep(OFFER_AGAIN_S)
            self._offer(self._refused)

    async def _follow(self, channel: LocalChannel) -> None:
        try:
            while (message := await channel.receive()) is not None:
                self._take(message)
        except (OSError, MessageError, ValueError, TypeError, OverflowError) as error:
            log.warning("router at %s: %s", self.path, error)
        finally:
            channel.close()
            self._channel = None
            self._lost_at = trio.current_time()
            self._answers.unpark_all()

    async def _come_back(self, nursery: trio.Nursery) -> None:
        self._looked_for_since = trio.current_time()
        watching = trio.CancelScope()
        nursery.start_soon(self._watch, watching)
        if not self._answered and trio.current_time() - self._connected_at < HUNG_UP_S:
            with trio.move_on_after(HUNG_UP_S):
                await self._pausing.park()
        while not await self.connect():
            self._tried.unpark_all()
            with trio.move_on_after(self._pause_s()):
                await self._pausing.park()
        watching.cancel()
        self._asked = self._answered = 0
        self._offer(self._ids)
        self._tried.unpark_all()
        log.info("back at the router at %s with %d sessions", self.path, len(self._ids))

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Not from the start: all keepers would come at the same moment to a router that has
        just been restarted."""
        with scope:
            await trio.sleep(LOOKED_FOR_S)
            await watch_appearance(self.path, self._appeared)
        self._is_watched = False
        if not scope.cancelled_caught:
            self._pausing.unpark_all()  # it will not be told any more

    def _appeared(self) -> None:
        self._is_watched = True
        self._looked_for_since = trio.current_time()
        self._pausing.unpark_all()

    def _pause_s(self) -> float:
        looked_for_s = trio.current_time() - self._looked_for_since
        if self._is_watched and self._is_absent and looked_for_s >= LOOKED_FOR_S:
            return math.inf
        return min(max(FIRST_PAUSE_S, PAUSE_SHARE * looked_for_s), MAX_PAUSE_S)

    def _offer(self, ids: set[bytes]) -> None:
        relays = ids & self._relays.keys()
        batches = (sorted(ids - relays), IDS_PER_MESSAGE), (sorted(relays), RELAYS_PER_MESSAGE)
        self._refused -= ids
        for names, limit in batches:
            for start in range(0, len(names), limit):
                self._add(names[start : start + limit])

    def _add(self, ids: list[bytes]) -> None:
        fields: dict[str, object] = {"add": [name.decode("ascii") for name in ids]}
        relays = {
            name.decode("ascii"): [where.host, where.port]
            for name in ids
            if (where := self._relays.get(name)) is not None
        }
        self._send({**fields, "relays": relays} if relays else fields)

    def _send(self, fields: dict[str, object]) -> None:
        if self._channel is not None:
            self._channel.send_nowait({"v": LOCAL_VERSION, **fields})
            self._asked += 1

    def _take(self, message: Message) -> None:
        fields = message.fields
        if "arrival" in fields and len(message.descriptors) == 1:
            sock = socket.socket(fileno=message.descriptors[0])
            try:
                client_id = str(fields["arrival"]).encode()
            except ValueError:
                sock.close()
                raise
            self._deliver(client_id, sock, message.attachment)
            return
        message.close_descriptors()
        if "replay_memory" in fields:
            self._share(int(fields["replay_memory"]))
        elif "port" in fields:
            self.port = int(fields["port"])
            self.relaying = str(fields.get("relaying", "any"))
            refused = (str(name).encode() for name in fields.get("refused", ()))
            self._refused.update(self._ids.intersection(refused))
            if self.relaying != "any":  # who restarted the router may have forbidden them
                for name in self._refused & self._relays.keys():
                    self._end_relay(name)
            self._answered += 1
            self._answers.unpark_all()
        elif "end_relays" in fields:
            for name in fields["end_relays"]:
                self._end_relay(str(name).encode())
        elif "free" in fields:
            self._offer(self._refused)
