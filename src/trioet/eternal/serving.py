"""serve_eternal: the server's end."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import trio

from trioet.errors import HandshakeError, PeerError, SessionLost, TrioetError
from trioet.eternal.flow import Flow
from trioet.eternal.introducing import NOBODY, read_request_in_tls
from trioet.eternal.opening import CLOSE_TIMEOUT_S, shared_key
from trioet.eternal.stream import EternalStream
from trioet.link.door import Arrival, Door, Verdict
from trioet.link.line import LineBroken, SocketLine, source_of
from trioet.link.lines import Unproven
from trioet.link.resumable import Role
from trioet.wire.agreement import PreSharedKey
from trioet.wire.backed import ReplayBudget
from trioet.wire.handshake import connect_response_frame, first_request
from trioet.wire.introduction import WRONG_KEY, answer_introduction
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus

log = logging.getLogger(__name__)

MAX_SESSIONS: Final = 1000
MAX_SESSIONS_PER_SOURCE: Final = 200
ABANDONED_AFTER_S: Final = 24 * 3600.0
REPLAY_MEMORY: Final = 256 * 1024 * 1024

INTRODUCED_S: Final = 15.0
"""From an introduction to the first packet that opens under its key."""

MAX_NEWCOMERS: Final = 256
"""Sessions that were introduced and have not proven to have the key: who repeats what others
have said can make such. The oldest goes first."""

MAX_NEWCOMERS_PER_SOURCE: Final = 32

BACKLOG: Final = 128

TLS_ONLY: Final = b"this server is introduced by TLS, not by a pre-shared key"
KNOWN: Final = b"this session has begun already"
FULL: Final = b"this server has as many sessions as it takes"
FULL_FROM_THERE: Final = b"this server has as many sessions from there as it takes"


@dataclass(frozen=True)
class ServerStatistics:
    """Counts of one server. ``sessions`` are open now, ``away`` of them without a connection."""

    sessions: int
    away: int
    opened: int
    accepted: int
    refused: int
    kept_bytes: int


@dataclass(frozen=True)
class Limits:
    """As :func:`serve_eternal` says."""

    sessions: int
    sessions_per_source: int
    abandoned_after: float
    close_timeout: float
    replay_memory: int


class EternalServer:
    """What :func:`serve_eternal` gives to who starts it with ``nursery.start``."""

    def __init__(
        self,
        handler: Callable[[EternalStream], Awaitable[object]],
        psk: PreSharedKey | None,
        ssl_context: ssl.SSLContext | None,
        passkeys: MutableMapping[bytes, bytes],
        *,
        limits: Limits,
        listeners: Sequence[socket.socket],
    ) -> None:
        """Not public: :func:`serve_eternal` makes it."""
        self.addresses = [listener.getsockname() for listener in listeners]
        """Where it listens, as ``socket.getsockname`` says it."""
        self._handler = handler
        self._psk = psk
        self._ssl_context = ssl_context
        self._passkeys = passkeys
        self._limits = limits
        self._budget = ReplayBudget(limits.replay_memory)
        self._door = Door(
            self._deliver, in_tls=self._introduce_in_tls if ssl_context is not None else None
        )
        self._sessions: dict[bytes, _Session] = {}
        self._newcomers: dict[bytes, _Session] = {}
        self._opened = 0
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<EternalServer sessions={len(self._sessions)} {self._door!r}>"

    @property
    def port(self) -> int:
        """Where it listens: the port of the first listener."""
        return int(self.addresses[0][1])

    @property
    def streams(self) -> Sequence[EternalStream]:
        """Those that are open, the oldest first."""
        return [session.stream for session in self._sessions.values()]

    def statistics(self) -> ServerStatistics:
        """Counts as they are now."""
        streams = self.streams
        return ServerStatistics(
            sessions=len(streams),
            away=sum(not stream.link_state.connected for stream in streams),
            opened=self._opened,
            accepted=self._door.accepted,
            refused=self._door.refusals.count,
            kept_bytes=self._budget.used,
        )

    async def run(self, listeners: Sequence[socket.socket]) -> NoReturn:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for listener in listeners:
                nursery.start_soon(self._door.serve, listener)
        raise AssertionError("a door is open until it is cancelled")

    # Who comes

    def _deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        sock, preface = arrival
        request, rest = first_request(preface)
        if request.introduction is not None:
            self._introduce(request, sock, rest)
            return Verdict.DELIVERED
        session = self._sessions.get(client_id) or self._newcomers.get(client_id)
        if session is None and client_id in self._passkeys:
            if self._refuse_for_room(sock):
                return Verdict.DELIVERED
            passkey = self._passkeys.pop(client_id)
            session = self._begin(client_id, passkey, source_of(sock))
            session.given = passkey
        if session is None or session.flow.over.is_set():
            return Verdict.UNKNOWN
        session.attach(sock, preface)
        return Verdict.DELIVERED

    def _introduce(self, request: ConnectRequest, sock: socket.socket, rest: bytes) -> None:
        """Answer an introduction in clear; the link goes on, on the same connection."""
        if self._psk is None:
            self._refuse(sock, TLS_ONLY)
            return
        try:
            answer, passkey = self._admit(self._psk, request, sock)
        except _Refusal as refusal:
            self._refuse(sock, refusal.text)
            return
        sock.send(answer)  # the first on its connection: there is room
        session = self._begin(request.client_id, passkey, source_of(sock))
        session.attach(sock, rest)

    async def _introduce_in_tls(self, sock: socket.socket) -> None:
        assert self._ssl_context is not None, "or the door has no such way"
        line = SocketLine(sock)
        try:
            stream, request, certificate = await read_request_in_tls(line, self._ssl_context)
            try:
                answer, passkey = self._admit(NOBODY, request, sock)
            except _Refusal as refusal:
                self._door.refusals.note(line.source, refusal.text.decode())
                await stream.send_all(_refusal_frame(refusal.text))
                return
            self._begin(request.client_id, passkey, line.source, certificate)
            await stream.send_all(answer)
        except trio.BrokenResourceError as error:
            raise HandshakeError(f"TLS: {error.__cause__ or error}") from error
        finally:
            line.shutdown()
            line.close()

    def _admit(
        self, psk: PreSharedKey, request: ConnectRequest, sock: socket.socket
    ) -> tuple[bytes, bytes]:
        try:
            answer = answer_introduction(psk, request)
        except HandshakeError:
            raise _Refusal(WRONG_KEY) from None
        if request.client_id in self._sessions or request.client_id in self._newcomers:
            raise _Refusal(KNOWN)
        self._check_room(source_of(sock))
        return answer

    def _check_room(self, source: str) -> None:
        if len(self._sessions) >= self._limits.sessions:
            raise _Refusal(FULL)
        if self._sessions_of(source) >= self._limits.sessions_per_source:
            raise _Refusal(FULL_FROM_THERE)

    def _sessions_of(self, source: str) -> int:
        return sum(session.source == source for session in self._sessions.values())

    def _refuse_for_room(self, sock: socket.socket) -> bool:
        try:
            self._check_room(source_of(sock))
        except _Refusal as refusal:
            self._refuse(sock, refusal.text)
            return True
        return False

    def _refuse(self, sock: socket.socket, text: bytes) -> None:
        self._door.refusals.note(source_of(sock), text.decode())
        with sock, suppress(OSError):
            sock.send(_refusal_frame(text))
            sock.shutdown(socket.SHUT_WR)

    # Sessions

    def _begin(
        self,
        client_id: bytes,
        passkey: bytes,
        source: str,
        certificate: Mapping[str, Any] | None = None,
    ) -> _Session:
        """A session whose client has yet to prove that it has the key."""
        self._make_room_for_newcomer(source)
        flow = Flow(passkey, Role.SERVER, budget=self._budget)
        stream = EternalStream(flow, client_id, self._limits.close_timeout, certificate)
        session = _Session(flow, stream, source, self._door)
        self._newcomers[client_id] = session
        assert self._nursery is not None, "run() comes first"
        self._nursery.start_soon(self._run_session, session)
        return session

    def _make_room_for_newcomer(self, source: str) -> None:
        from_there = [each for each in self._newcomers.values() if each.source == source]
        if len(from_there) >= MAX_NEWCOMERS_PER_SOURCE:
            from_there[0].flow.end()
        elif len(self._newcomers) >= MAX_NEWCOMERS:
            next(iter(self._newcomers.values())).flow.end()

    async def _run_session(self, session: _Session) -> None:
        client_id = session.stream.client_id
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.keep, self._limits.abandoned_after)
                try:
                    with trio.move_on_after(INTRODUCED_S):
                        await session.flow.wait_connected()
                    self._newcomers.pop(client_id, None)
                    if session.flow.state.connected:
                        await self._open(client_id, session)
                    elif session.given is not None and not session.flow.link.sent:
                        # A stranger came who knows the id. Nothing was sealed under the key.
                        self._passkeys.setdefault(client_id, session.given)
                finally:
                    session.flow.end()
        finally:
            self._newcomers.pop(client_id, None)
            self._sessions.pop(client_id, None)
            session.flow.link.close()
            for other in self._sessions.values():
                other.flow.link.look_for_room()

    async def _open(self, client_id: bytes, session: _Session) -> None:
        stream = session.stream
        self._sessions[client_id] = session
        self._opened += 1
        try:
            await self._handler(stream)
        except trio.BrokenResourceError as error:
            log.info("the stream of %s broke: %s", session.source, error)
            stream.abort()
        except Exception:
            log.exception("the handler of a stream from %s failed; it was aborted", session.source)
            stream.abort()
        except BaseException:
            stream.abort()
            raise
        await stream.aclose()


class _Session:
    """One client's: its link, and the tasks of its connections."""

    def __init__(self, flow: Flow, stream: EternalStream, source: str, door: Door) -> None:
        self.flow = flow
        self.stream = stream
        self.source = source
        self.given: bytes | None = None
        """The passkey, if it was given by other means than an introduction."""
        self._door = door
        self._early: list[Arrival] = []
        self._lines: trio.Nursery | None = None

    def attach(self, sock: socket.socket, preface: bytes) -> None:
        """Use this connection, too."""
        if self._lines is None:
            self._early.append((sock, preface))
        else:
            self._lines.start_soon(self._run_line, sock, preface)

    async def keep(self, abandoned_after: float) -> None:
        """Run the link until its flow is over, whatever becomes of who uses it."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                self._lines = nursery
                for arrival in self._early:
                    self.attach(*arrival)
                nursery.start_soon(self.flow.run)
                nursery.start_soon(self._watch_absence, abandoned_after)
                await self.flow.over.wait()
                nursery.cancel_scope.cancel()

    async def _watch_absence(self, abandoned_after: float) -> None:
        await self.flow.wait_away(abandoned_after)
        self.flow.fail(SessionLost(f"the client has been away for {abandoned_after:g} s"))

    async def _run_line(self, sock: socket.socket, preface: bytes) -> None:
        line = SocketLine(sock)
        try:
            await self.flow.link.run_server_line(line, preface)
        except (Unproven, PeerError) as error:
            # Where its client came from, connections may break again and again.
            points = 0.0 if line.source == self.source else 1.0
            self._door.refusals.note(line.source, error, points)
        except (LineBroken, TrioetError) as error:
            log.debug("%s: %s", line.peer_name, error)


class _Refusal(Exception):
    """A client is told why it is not let in."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


def _refusal_frame(text: bytes) -> bytes:
    return connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY, text))


async def serve_eternal(
    handler: Callable[[EternalStream], Awaitable[object]],
    port: int,
    *,
    host: str | None = None,
    psk: bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    passkeys: MutableMapping[bytes, bytes] | None = None,
    listeners: Sequence[socket.socket] | None = None,
    max_sessions: int = MAX_SESSIONS,
    max_sessions_per_source: int = MAX_SESSIONS_PER_SOURCE,
    abandoned_after: float = ABANDONED_AFTER_S,
    close_timeout: float = CLOSE_TIMEOUT_S,
    replay_memory: int = REPLAY_MEMORY,
    task_status: trio.TaskStatus[EternalServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Accept eternal streams, and run ``handler(stream)`` for each in a task of its own.

    ``port`` 0 takes any; ``host`` None listens on all addresses. ``listeners``, which are listening
    stream sockets and become the server's, take their place. Keys as in
    :func:`trioet.open_eternal_stream`: one or more of ``psk``, ``ssl_context`` (of a server; it
    may ask for client certificates) and ``passkeys``, from client id to passkey. An entry is
    taken out when its client comes, for no passkey may serve twice; more may be added any time.

    When the handler returns, its stream is closed, which delivers for up to ``close_timeout``
    seconds. When it raises an Exception, that is logged, the peer is told that the stream was
    aborted, and nobody else is harmed. A session whose client has had no connection for
    ``abandoned_after`` seconds is lost: its stream is broken. At most ``max_sessions`` are open,
    and ``max_sessions_per_source`` that were opened from one IPv4 address or IPv6 /64; others are
    told so. ``replay_memory``: bytes that all together may keep for clients that are away; if
    they do, those that keep most wait.

    Never returns. Cancellation cancels the handlers and aborts their streams.

    Raises:
      OSError: it cannot listen there.
      ValueError: no key, or one of the wrong length.
    """
    if psk is None and ssl_context is None and passkeys is None:
        raise ValueError("give psk, ssl_context or passkeys: who may come?")
    limits = Limits(
        max_sessions, max_sessions_per_source, abandoned_after, close_timeout, replay_memory
    )
    key = shared_key(psk) if psk is not None else None
    found = list(listeners) if listeners is not None else await _listen(host, port)
    # Not `passkeys or {}`: it may be filled later.
    known = {} if passkeys is None else passkeys
    server = EternalServer(handler, key, ssl_context, known, limits=limits, listeners=found)
    task_status.started(server)
    await server.run(found)


async def _listen(host: str | None, port: int) -> list[socket.socket]:
    """
    Raises:
      OSError: it cannot.
    """
    if host is None:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        address = ("", port)
        return [socket.create_server(address, family=family, dualstack_ipv6=both, backlog=BACKLOG)]
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    try:
        # Of a port that is any, each address would have another.
        for family, _, _, _, where in found if port else found[:1]:
            listeners.append(socket.create_server(where, family=family, backlog=BACKLOG))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
