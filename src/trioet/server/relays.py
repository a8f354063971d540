"""The relays of one user: which id leads where, for how long, and for how many.

A relay belongs to a place, not to a session: who asks for the same place again gets the same
relay. So there are as many as there are places, and none has to be given back.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from contextlib import suppress
from typing import Final

import trio

from trioet.errors import PeerError
from trioet.link.door import Arrival
from trioet.link.line import source_of
from trioet.link.refusals import Refusals
from trioet.server.relay import BUFFER, relay
from trioet.session.descriptors import for_tunnels
from trioet.session.destinations import CannotReach, connect
from trioet.wire.forward import Address
from trioet.wire.handshake import first_request, relay_failure_frame
from trioet.wire.messages import RelayFailure
from trioet.wire.reach import Failure

log = logging.getLogger(__name__)

RELAY_LIFE_S: Final = 30 * 24 * 3600.0
"""A relay ends when no connection has used it for so long. Sessions wait for their client
without end; this covers a laptop that sleeps through a holiday. Afterwards the client asks
for it anew, by ssh."""

MAX_RELAYS: Final = 256
"""Relays of one keeper: places that its user's sessions are reached through."""

MAX_RELAYED_EACH: Final = 128
"""Connections at once through one relay; a session has one, two while it changes."""

MAX_RELAYED: Final = 1024
"""Connections at once through all relays of a keeper; fewer if it may have fewer descriptors."""

CONNECT_DEADLINE_S: Final = 8.0
"""To connect onward. Shorter than a client's patience
(:data:`trioet.link.resumable.HANDSHAKE_DEADLINE_S`), so that it still hears why not."""

PARTING_S: Final = 2.0
"""How long a client may take to read why it was refused."""


class Connection:
    """Somebody who uses a relay."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.scope = trio.CancelScope()
        self.answered = False
        """The other end has said something: to a stranger it says nothing."""

    def note_answer(self) -> None:
        """The other end has said something."""
        self.answered = True


class Relay:
    """A place that one id leads to."""

    def __init__(self, relay_id: bytes, where: Address, door: str) -> None:
        self.id = relay_id
        self.where = where
        self.door = door
        """The router that brings its connections, by its path; empty: the keeper's own door."""
        self.scope = trio.CancelScope()
        self.connections: list[Connection] = []
        """Who uses it, oldest first."""
        self.changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Relay to {self.where} connections={len(self.connections)}>"

    def touch(self) -> None:
        """Somebody wants it: its life begins anew."""
        self.changed.unpark_all()

    async def wait_unused(self) -> None:
        """Return when nobody has used it for RELAY_LIFE_S. Cancellation changes nothing."""
        while True:
            while self.connections:
                await self.changed.park()
            with trio.move_on_after(RELAY_LIFE_S):
                await self.changed.park()
                continue
            return


class Relays:
    """All relays of a keeper."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._relays: dict[bytes, Relay] = {}
        self._buffer = bytearray(BUFFER)

    def __len__(self) -> int:
        return len(self._relays)

    def __contains__(self, relay_id: bytes) -> bool:
        return relay_id in self._relays

    def __repr__(self) -> str:
        return f"<Relays {list(self._relays.values())}>"

    @property
    def connections(self) -> int:
        """How many connections go through them now."""
        return sum(len(each.connections) for each in self._relays.values())

    def find(self, where: Address, door: str) -> Relay | None:
        """The relay to that place through that door, if there is one; its life begins anew."""
        for each in self._relays.values():
            if (each.where, each.door) == (where, door) and not each.scope.cancel_called:
                each.touch()
                return each
        return None

    def add(self, relay_id: bytes, where: Address, door: str) -> Relay:
        """Enter a relay, to be run by :meth:`serve`."""
        made = self._relays[relay_id] = Relay(relay_id, where, door)
        return made

    def end(self, relay_id: bytes) -> None:
        """End a relay and all connections through it."""
        if relay_id in self._relays:
            self._relays[relay_id].scope.cancel()

    async def serve(self, served: Relay, arrivals: trio.MemoryReceiveChannel[Arrival]) -> None:
        """Relay what arrives, until the relay is ended or nobody uses it any more.

        Cancellation resets all connections through it.
        """
        try:
            with served.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._serve_arrivals, served, arrivals, nursery)
                    await served.wait_unused()
                    nursery.cancel_scope.cancel()
        finally:
            del self._relays[served.id]
            with suppress(trio.WouldBlock, trio.ClosedResourceError, trio.EndOfChannel):
                while True:
                    arrivals.receive_nowait()[0].close()

    async def _serve_arrivals(
        self,
        served: Relay,
        arrivals: trio.MemoryReceiveChannel[Arrival],
        nursery: trio.Nursery,
    ) -> None:
        async for sock, preface in arrivals:
            nursery.start_soon(self._serve_connection, served, sock, preface)

    async def _serve_connection(self, served: Relay, near: socket.socket, preface: bytes) -> None:
        near.setblocking(False)
        connection = Connection(source_of(near))
        with connection.scope:
            try:
                self._make_room(served)
                served.connections.append(connection)
                served.touch()
                await self._connect_onward(served, connection, near, preface)
            except (PeerError, OSError) as error:
                self._refusals.note(connection.source, error)
            except Exception:
                log.exception("a fault in trioet; please report it")
            finally:
                near.close()
                if connection in served.connections:
                    served.connections.remove(connection)
                served.touch()

    async def _connect_onward(
        self, served: Relay, connection: Connection, near: socket.socket, preface: bytes
    ) -> None:
        request, early = first_request(preface)
        if not request.relay:
            self._refusals.note(connection.source, "a session was asked for by the id of a relay")
            return
        try:
            far = await connect(served.where, deadline_s=CONNECT_DEADLINE_S)
        except CannotReach as error:
            what = f"cannot reach {served.where.host} port {served.where.port}: {error}"
            refused = error.failure is Failure.REFUSED
            reason = what.encode(errors="replace")
            await tell_failure(near, RelayFailure(served.id, reason, refused=refused))
            return
        await relay(near, far, early, self._buffer, connection.note_answer)

    def _make_room(self, served: Relay) -> None:
        """Let the oldest connection go of whoever has most, when there are too many.

        First of those that the other end has never answered. So whoever merely knows an id
        keeps nobody out.
        """
        if len(served.connections) >= MAX_RELAYED_EACH:
            crowd = [served]
        elif self.connections >= min(MAX_RELAYED, max(1, for_tunnels() // 2)):
            crowd = list(self._relays.values())
        else:
            return
        everybody = [(each, some) for each in crowd for some in each.connections]
        strangers = [(each, some) for each, some in everybody if not some.answered]
        candidates = strangers or everybody
        counts = Counter(some.source for _, some in candidates)
        most = max(counts, key=lambda source: counts[source])
        user_of, oldest = next(pair for pair in candidates if pair[1].source == most)
        self._refusals.note(most, "too many relayed connections", points=0)
        user_of.connections.remove(oldest)
        oldest.scope.cancel()


async def tell_failure(sock: socket.socket, failure: RelayFailure) -> None:
    """Say why nothing can be relayed, and close once that was read, or in PARTING_S.

    Cancellation closes at once.
    """
    with suppress(OSError):
        try:
            sock.send(relay_failure_frame(failure))
            sock.shutdown(socket.SHUT_WR)
            # What the client has sent already must be read, or the kernel resets the
            # connection, and the answer may be lost.
            with trio.move_on_after(PARTING_S):
                while True:
                    await trio.lowlevel.wait_readable(sock)
                    if not sock.recv(BUFFER):
                        return
        finally:
            sock.close()
