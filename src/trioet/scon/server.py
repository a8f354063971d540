"""SconServer: goscon's place, between clients that come and go and backends that must not notice.

It reads one request from each connection, within a time, and begins a session or goes on with
one. Nothing that arrives here may do more than close its own connection.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.errors import FrameError, HandshakeError, PeerError, TooFarBehind
from trioet.link.accepting import WaitingRoom, accept
from trioet.link.line import LineBroken, SocketLine, source_of
from trioet.link.refusals import Refusals
from trioet.scon.counters import Counters
from trioet.scon.directory import Directory, OwnDirectory
from trioet.scon.policy import Policy, Secure
from trioet.scon.session import Backend, Call, Dial, Ended, Session
from trioet.scon.visitor import Visitor
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_arc4 import arc4
from trioet.wire.scon_handshake import (
    Code,
    FrameReader,
    Malformed,
    NewAnswer,
    NewRequest,
    Request,
    ResumeAnswer,
    ResumeRequest,
    frame,
    parse_request,
)
from trioet.wire.scon_keys import PRIVATE_BITS, public_key, shared_secret
from trioet.wire.scon_sealed import KEY_SIZE, offered
from trioet.wire.scon_sealed import accept as accept_offer
from trioet.wire.scon_streams import Arc4Inward, Arc4Keys, Arc4Outward, Inward, Keys, Outward
from trioet.wire.sealing import Direction

__all__ = ["Backend", "Call", "Dial", "Ended", "SconServer"]

log = logging.getLogger(__name__)

TRIM_EVERY_S: Final = 5.0
QUIET_S: Final = 30.0
"""What a session sent so long ago, with nothing since, has arrived: only the least is kept."""


class SconServer:
    """Sessions by their ids, and the connections that are not of one yet.

    ``policy`` and ``dial`` may be replaced at any time: what comes then obeys the new ones.
    """

    def __init__(
        self,
        dial: Dial,
        policy: Policy | None = None,
        *,
        directory: Directory | None = None,
        counters: Counters | None = None,
    ) -> None:
        """
        Raises:
          UsageError: sessions of goscon's own form are allowed, and this machine has no RC4.
        """
        self.dial = dial
        self._policy = policy or Policy()
        if self._policy.secure is not Secure.REQUIRED:
            arc4(bytes(32))
        self.counters = counters or Counters()
        self.refusals = Refusals()
        self.sessions: dict[int, Session] = {}
        """Those that live, by id, the oldest first. Not to be changed."""
        self._directory: Directory = directory or OwnDirectory()
        self._budget = ReplayBudget(self.policy.max_kept_in_all)
        self._room = WaitingRoom(self.refusals)
        self._sessions_of: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<SconServer sessions={len(self.sessions)} waiting={len(self._room)}>"

    @property
    def policy(self) -> Policy:
        """What is allowed."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._budget.limit = policy.max_kept_in_all

    @property
    def kept_bytes(self) -> int:
        """Bytes kept for replays, by all sessions."""
        return self._budget.used

    async def serve(
        self, listener: socket.socket, accepting: trio.CancelScope | None = None
    ) -> None:
        """Accept until cancelled; closes the listener. Sessions that began here end with it.

        Cancelling only ``accepting`` closes the listener, and this returns when the connections
        and sessions that began here are over.
        """
        listener.setblocking(False)
        async with trio.open_nursery() as beside:
            beside.start_soon(self._trim_for_ever)
            async with trio.open_nursery() as nursery:
                with listener, accepting or trio.CancelScope():
                    await self._accept_for_ever(listener, nursery)
            beside.cancel_scope.cancel()

    async def _accept_for_ever(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        while True:
            try:
                connection, _ = await accept(listener)
            except OSError as error:
                self.counters.accept_fails += 1
                await self._room.cannot_accept(listener, error)
            else:
                nursery.start_soon(self.admit, connection)

    async def admit(
        self, sock: socket.socket, preface: bytes = b"", visitor: Visitor | None = None
    ) -> None:
        """Do with a connection as its request says; ``preface`` was read from it already.

        ``visitor`` says who is there, if the connection is not the client's own. Returns when the
        connection, and the session that began with it, are over. Cancellation closes both.
        """
        self.counters.accepts += 1
        sock.setblocking(False)
        source = visitor.source if visitor else source_of(sock)
        try:
            request, rest = await self._read_request(sock, source, preface)
            if isinstance(request, NewRequest):
                await self._begin(sock, source, request, rest, visitor)
            else:
                await self._resume(sock, source, request, rest)
        except Malformed as error:
            self._refuse(sock, source, Code.MALFORMED, error)
        except (PeerError, OSError) as error:
            self._count_error(source, Code.BROKEN, error)
        except LineBroken as error:
            # A balancer looks whether we are there.
            self._count_error(source, Code.BROKEN, error, points=0)
        except trio.TooSlowError:
            self._count_error(source, Code.BROKEN, "no request in time")
        finally:
            sock.close()

    # Before a connection is of a session

    async def _read_request(
        self, sock: socket.socket, source: str, preface: bytes
    ) -> tuple[Request, bytes]:
        reader = FrameReader()
        text = reader.feed(preface)
        patience = self._room.patience(source, self.policy.handshake_timeout)
        with self._room.seat(source) as seat, trio.fail_after(patience):
            while text is None:
                try:
                    data = sock.recv(reader.wanted)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(sock)
                    continue
                if not data and reader.idle:
                    raise LineBroken("closed without a word")
                if not data:
                    raise FrameError("closed before a request was whole")
                text = reader.feed(data)
        if text is None:
            assert seat.cancelled_caught
            raise LineBroken("others needed its place")
        return parse_request(text), reader.rest()

    def _refuse(
        self,
        sock: socket.socket,
        source: str,
        code: Code,
        why: object,
        answer: ResumeAnswer | None = None,
    ) -> None:
        """Answer, and close. The answer fits any socket buffer."""
        # All who come back after a restart are told 404: they have done nothing wrong.
        self._count_error(source, code, why, points=0 if code is Code.UNKNOWN else 1)
        with suppress(OSError):
            sock.send(frame((answer or ResumeAnswer(0, code)).text()))
            sock.shutdown(socket.SHUT_WR)
        sock.close()

    def _count_error(self, source: str, code: Code, why: object, points: float = 1) -> None:
        self.counters.handshake_errors[code] += 1
        self.refusals.note(source, why, points)

    # A session

    async def _begin(
        self,
        sock: socket.socket,
        source: str,
        request: NewRequest,
        rest: bytes,
        visitor: Visitor | None,
    ) -> None:
        sealed = offered(request) and self.policy.secure is not Secure.OFF
        if self.policy.secure is Secure.REQUIRED and not sealed:
            raise Malformed("only sealed sessions are wanted here")
        private = secrets.randbelow(2**PRIVATE_BITS - 1) + 1
        secret = shared_secret(private, request.public)
        self._check_room(source)
        client = visitor.client if visitor else sock.getpeername()[:2]
        local = visitor.local if visitor else sock.getsockname()[:2]
        call = Call(request.target, request.flags, client, local)
        session_id = await self._directory.claim()
        try:
            answer = NewAnswer(session_id, public_key(private))
            keys: Keys
            outward: Outward
            inward: Inward
            if sealed:
                answer, keys = accept_offer(
                    request, answer, secrets.token_bytes(KEY_SIZE), self.policy.psk
                )
                outward = keys.outward(Direction.SERVER_TO_CLIENT)
                inward = keys.inward(Direction.CLIENT_TO_SERVER)
            else:
                keys = Arc4Keys(secret)
                outward, inward = Arc4Outward(secret), Arc4Inward(secret)
            session = Session(
                session_id,
                call,
                keys,
                outward,
                inward,
                policy=self.policy,
                budget=self._budget,
                counters=self.counters,
                source=source,
                sealed=sealed,
            )
            await self._live(session, self._line(sock, source), frame(answer.text()), rest, visitor)
        finally:
            self._directory.release(session_id)

    def _line(self, sock: socket.socket, source: str) -> SocketLine:
        """The connection as a line, with the kernel asking as the policy says."""
        line = SocketLine(sock)
        line.source = source
        line.ask_after(self.policy.keepalive_interval if self.policy.keepalive else 0)
        return line

    def _check_room(self, source: str) -> None:
        """See that there may be one more session.

        Raises:
          HandshakeError: there may not.
        """
        if not self.policy.max_sessions:
            raise HandshakeError("no more sessions are begun here")
        most = self.policy.max_sessions_per_source
        if most and self._sessions_of[source] >= most:
            raise HandshakeError("too many sessions from there")
        if len(self.sessions) >= self.policy.max_sessions:
            for session in self.sessions.values():
                if session.lingers and session.end is None:
                    session.finish(Ended.BACKEND_CLOSED)
                    return
            raise HandshakeError("there are too many sessions")

    async def _live(
        self,
        session: Session,
        line: SocketLine,
        greeting: bytes,
        rest: bytes,
        visitor: Visitor | None,
    ) -> None:
        async def dial(call: Call) -> Backend:
            if visitor is not None:
                await visitor.proven()
            return await self.dial(call)

        self.sessions[session.id] = session
        self._sessions_of[session.source] += 1
        self.counters.sessions_begun += 1
        self.counters.sessions += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._use, session, line, 0, lambda: greeting, rest)
                await session.run(dial)
        finally:
            del self.sessions[session.id]
            self._sessions_of[session.source] -= 1
            if not self._sessions_of[session.source]:
                del self._sessions_of[session.source]
            self.counters.sessions -= 1
            self.counters.closes += 1
            self.counters.close_reasons[(session.end or Ended.STOPPED).value] += 1

    async def _use(
        self,
        session: Session,
        line: SocketLine,
        position: int,
        greeting: Callable[[], bytes],
        rest: bytes,
    ) -> None:
        try:
            await session.use(line, position, greeting, rest)
        except LineBroken as error:
            log.debug("session %d: %s", session.id, error)
        except PeerError as error:
            self.refusals.note(line.source, error)

    async def _resume(
        self, sock: socket.socket, source: str, request: ResumeRequest, rest: bytes
    ) -> None:
        session = self.sessions.get(request.session_id)
        if session is None:
            holder = await self._directory.find(request.session_id)
            if holder is not None:
                await holder.take(sock, frame(request.text()) + rest)
                return
            self._fail(sock, source, Code.UNKNOWN, "there is no such session")
            return
        keys = session.keys
        code = keys.sign(request)
        if not hmac.compare_digest(code, request.code[: len(code)]):  # real ones look no further
            self._fail(sock, source, Code.UNAUTHORIZED, "its code does not fit the session")
            return

        def answer(code: Code, received: int = 0) -> ResumeAnswer:
            bare = ResumeAnswer(received, code)
            return ResumeAnswer(received, code, keys.prove(request, bare))

        if request.index <= session.index:
            refusal = answer(Code.INDEX_USED)
            self._fail(sock, source, Code.INDEX_USED, "its index was used", refusal)
            return
        link = session.link
        try:
            position = link.position(request.received)
        except TooFarBehind as error:
            self._fail(sock, source, Code.NOT_KEPT, error, answer(Code.NOT_KEPT))
            return
        if session.end is not None or (session.lingers and position == link.sent):
            session.finish(Ended.BACKEND_CLOSED)
            refusal = answer(Code.UNKNOWN)
            self._fail(sock, source, Code.UNKNOWN, "its session is over", refusal)
            return
        session.index = request.index
        self.counters.resumes += 1
        self.counters.resends.observe(link.sent - position)

        def greeting() -> bytes:
            return frame(answer(Code.OK, link.received_count).text())

        await self._use(session, self._line(sock, source), position, greeting, rest)

    def _fail(
        self,
        sock: socket.socket,
        source: str,
        code: Code,
        why: object,
        answer: ResumeAnswer | None = None,
    ) -> None:
        self.counters.resume_fails += 1
        self._refuse(sock, source, code, why, answer)

    # Memory

    async def _trim_for_ever(self) -> None:
        while True:
            await trio.sleep(TRIM_EVERY_S)
            for session in self.sessions.values():
                session.link.trim_if_quiet(QUIET_S)
