"""One session of a server: a client that comes and goes, and a backend that must not notice."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, NoReturn, TypeAlias

import trio

from trioet.errors import TrioetError
from trioet.link.line import Line, LineBroken
from trioet.scon.counters import Counters
from trioet.scon.link import PeerOver, SconLink
from trioet.scon.policy import Policy
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_streams import Inward, Keys, Outward

log = logging.getLogger(__name__)

HIDE_ADDRESS: Final = 1
"""Bit of a request's flags: the backend shall not be told who the client is (2.2)."""


@dataclass(frozen=True)
class Call:
    """A new session: who wants to go where."""

    target: bytes
    """The name that the client asks for; may be empty, and anything."""
    flags: int
    client: tuple[str, int]
    """Address and port from which the client came."""
    local: tuple[str, int]
    """Address and port at which it arrived."""

    @property
    def hides_address(self) -> bool:
        """True if the backend shall not be told :attr:`client`."""
        return bool(self.flags & HIDE_ADDRESS)


class Backend(NamedTuple):
    """A connection to what the client asked for."""

    line: Line
    announcement: bytes = b""
    """Goes first: a PROXY line, or sproto's."""


Dial: TypeAlias = Callable[[Call], Awaitable[Backend]]
"""Raises OSError, LineBroken or TrioetError if no backend can be had: the client then sees the end
of its session. May wait for one; it is cancelled when the client is given up. What it opens
belongs to the session."""


class Ended(Enum):
    """Why a session ended."""

    BACKEND_CLOSED = "backend_closed"
    BACKEND_FAILED = "backend_failed"
    NO_BACKEND = "no_backend"
    NOT_RESUMED = "not_resumed"
    NOT_PROVEN = "not_proven"
    CLIENT_CLOSED = "client_closed"
    KICKED = "kicked"
    STOPPED = "stopped"


class Session:
    """A stream between a link and a backend.

    :meth:`run` is its life; connections of its client are given to its :attr:`link`.
    """

    def __init__(
        self,
        session_id: int,
        call: Call,
        keys: Keys,
        outward: Outward,
        inward: Inward,
        *,
        policy: Policy,
        budget: ReplayBudget,
        counters: Counters,
        source: str,
        sealed: bool,
    ) -> None:
        self.id = session_id
        self.call = call
        self.keys = keys
        self.source = source
        self.index = 0
        """That of the last request that was granted."""
        self.begun = trio.current_time()
        self.end: Ended | None = None
        """Set when the session is over."""
        self.link = SconLink(
            self, budget=budget, floor=policy.reuse_buffer, max_kept=policy.max_kept
        )
        self.link.agree(outward, inward)
        self.link.on_change = self._line_changed
        self.policy = policy
        self._counters = counters
        self._scope = trio.CancelScope()
        self._patience = trio.CancelScope()
        """Cancelled when the connection in use has been silent for too long."""
        self._backend: Line | None = None
        self._pending: bytes | memoryview = b""
        """What came for the backend and was not taken yet."""
        self._client_ended = False
        self._backend_end: Ended | None = None
        self._sealed = sealed
        self._said_over = False
        self._delivering = False
        """A line's task hands over what came; another's waits."""
        self._greeted = False
        """The backend is there, and its announcement goes first."""
        self._proven = not sealed
        self._attached = True
        self._answered = False
        """The client has been told that it has a session."""
        if sealed:
            self._scope.deadline = trio.current_time() + policy.handshake_timeout
        self._changed = trio.lowlevel.ParkingLot()
        self._line_changed()

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.link!r}>"

    async def run(self, dial: Dial) -> None:
        """Dial the backend, and carry bytes until the session is over; then see :attr:`end`.

        Cancellation ends the session.
        """
        end = Ended.STOPPED
        try:
            with self._scope:
                end = await self._carry(dial)
            if self._scope.cancelled_caught:
                gone = Ended.NOT_RESUMED if self._proven else Ended.NOT_PROVEN
                end = self.end or self._backend_end or gone
        finally:
            self.end = end
            self.link.on_change = lambda: None
            self.link.close()
            self._counters.sessions_waiting -= not self._attached
            if self._backend is not None:
                self._backend.close()

    def finish(self, why: Ended) -> None:
        """End the session now."""
        self.end = self.end or why
        self._scope.cancel()

    @property
    def lingers(self) -> bool:
        """The backend has ended: the session lasts only for a client that lacks its last bytes."""
        return self._backend_end is not None and not self._sealed

    async def use(
        self, line: Line, position: int, greeting: Callable[[], bytes], rest: bytes
    ) -> NoReturn:
        """Use a connection until it is gone, as :meth:`SconLink.run` does.

        Raises:
          LineBroken, PeerError: why it is.
        """
        with trio.CancelScope() as self._patience:
            self._be_patient()
            try:
                await self.link.run(line, position, greeting, rest)
            except PeerOver:
                self.finish(Ended.CLIENT_CLOSED)
                raise
        raise LineBroken(f"nothing came for {self.policy.read_timeout:g} s")

    async def _carry(self, dial: Dial) -> Ended:
        while not (self._proven and self._answered):
            await self._changed.park()
        try:
            self._backend, announcement = await dial(self.call)
        except (OSError, LineBroken, TrioetError) as error:
            log.info("session %d has no backend: %s", self.id, error)
            self._counters.upstream_fails += 1
            return Ended.NO_BACKEND
        self._pending = announcement + bytes(self._pending)
        self._greeted = True
        self._changed.unpark_all()
        await self.ready()
        try:
            await self._pump(self._backend)
        except LineBroken:
            self._backend_end = Ended.BACKEND_FAILED
        else:
            self._backend_end = Ended.BACKEND_CLOSED
        await self._say_the_end()
        return self._backend_end

    async def _pump(self, backend: Line) -> None:
        link, counters = self.link, self._counters
        while True:
            if not link.has_room():
                await link.wait_room()
            data = await backend.receive()
            if not data:
                return
            counters.bytes_down += len(data)
            link.send(data)

    async def _say_the_end(self) -> None:
        """The backend has ended: see that the client gets all that was said before.

        Until it says that it has no more use for the session, or has had its time to come back
        for what it lacks.
        """
        if self._backend_end is Ended.BACKEND_FAILED:
            self._backend_gone()
        else:
            self.link.send_end()
        while True:
            line = await self.link.wait_handed_over()
            if not self._sealed:
                line.shutdown()
            while self.link.line is line:
                if self._said_over and not self.link.unacknowledged:
                    return
                if not self._sealed or self._client_ended or self._said_over:
                    latest = trio.current_time() + self.policy.reuse_time
                    self._scope.deadline = min(self._scope.deadline, latest)
                await self._changed.park()

    def _backend_gone(self) -> None:
        """The backend takes nothing more. Its reader notices too; a sealed session's client is
        told, and need not send on for nothing."""
        if self._sealed and not self._said_over:
            self._said_over = True
            self.link.send_over()
            self._changed.unpark_all()

    def _be_patient(self) -> None:
        """The client need say nothing for its read_timeout from now on."""
        if self.policy.read_timeout:
            self._patience.deadline = trio.current_time() + self.policy.read_timeout

    def _line_changed(self) -> None:
        attached = self.link.attached
        self._answered |= attached
        if attached != self._attached:
            self._attached = attached
            self._counters.sessions_waiting += -1 if attached else 1
        if attached and self._proven:
            self._scope.deadline = math.inf
        elif self._proven:
            self._scope.deadline = trio.current_time() + self.policy.reuse_time
        self._changed.unpark_all()

    # Receiver

    def arrived(self, data: bytes) -> None:
        """Bytes of the client's: to the backend at once, or as soon as :meth:`ready` can."""
        self._counters.bytes_up += len(data)
        if self._pending or not self._greeted:
            self._pending = bytes(self._pending) + data
            return
        assert self._backend is not None, "it was greeted"
        try:
            taken = self._backend.try_send(data)
        except LineBroken:
            self._backend_gone()
            return
        if taken < len(data):
            self._pending = memoryview(data)[taken:]

    def ended(self) -> None:
        """The client will send no more."""
        self._client_ended = True
        self._changed.unpark_all()

    def heard(self) -> None:
        """Something came that is the client's beyond doubt, if the protocol has such a thing."""
        self._be_patient()
        if not self._proven:
            self._proven = True
            self._scope.deadline = math.inf
            self._changed.unpark_all()
        elif self._said_over:
            self._changed.unpark_all()  # it may have been an acknowledgement

    async def ready(self) -> None:
        """Return when the backend has all that came. Cancellation leaves the rest for the next
        line."""
        if not self._pending and not self._client_ended:
            return
        while self._delivering or not self._greeted:
            await self._changed.park()
        backend = self._backend
        assert backend is not None, "it was greeted"
        self._delivering = True
        try:
            while self._pending:
                taken = backend.try_send(self._pending)
                if taken == len(self._pending):
                    self._pending = b""
                    break
                self._pending = memoryview(self._pending)[taken:]
                await backend.wait_writable()
            if self._client_ended:
                backend.shutdown()
        except LineBroken:
            self._pending = b""
            self._backend_gone()
        finally:
            self._delivering = False
            self._changed.unpark_all()
