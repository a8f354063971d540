"""The keeper: one per user, runs as that user, owns the user's sessions.

`trioet terminal` starts it when there is none and asks it for sessions over a private Unix
socket. Connections arrive from a router, or, where none runs, at a port of the keeper's
own. It outlives the ssh session that started it, and ends a while after its last session.
It also relays, for sessions that its user has elsewhere (relays.py).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from trioet import __version__
from trioet.bootstrap.credentials import new_real_credentials
from trioet.errors import PeerError, StepFailed, TrioetError
from trioet.link.door import Arrival, Door
from trioet.link.line import LineBroken, SocketLine, source_of
from trioet.link.lines import Unproven
from trioet.link.refusals import Refusals
from trioet.link.resumable import ResumableLink, Role
from trioet.server.guest_request import GuestRequest
from trioet.server.guests import MAX_GUESTS, Guests
from trioet.server.jump import Jump
from trioet.server.places import make_runtime_dir, router_sockets_to_try
from trioet.server.registration import RouterRegistration
from trioet.server.relays import MAX_RELAYS, Relay, Relays, tell_failure
from trioet.server.request import INVITED, RELAYING, OpenRequest, RelayRequest
from trioet.server.requests import Request, Requests, guarded, json_line
from trioet.server.roster import Roster
from trioet.server.shares import Shares
from trioet.session.terminal import Origin, TerminalSession
from trioet.session.viewer import Viewer
from trioet.wire.backed import ReplayBudget
from trioet.wire.forward import Address
from trioet.wire.handshake import first_request
from trioet.wire.messages import RelayFailure

log = logging.getLogger(__name__)

LINGER_S: Final = 600.0
"""A keeper without sessions ends after this long."""

FURTHER_ROUTERS_S: Final = 1.0
"""How long all routers but the first may take to answer before their ports are not told."""

MAX_SESSIONS: Final = 1000
"""Sessions of one keeper."""

MAX_JUMPS: Final = 250
"""Sessions of one keeper that are on other hosts: each has two replay buffers."""

OWN_PORTS: Final = (60022, 60121)
"""Where a keeper listens by itself, if nothing else was asked for."""

REPLAY_MEMORY: Final = 512 * 1024 * 1024
"""Bytes for the replay buffers of all sessions, until a router gives a share."""


class Keeper:
    """This user's sessions, and the ways by which their connections arrive."""

    def __init__(self) -> None:
        self._roster = Roster()
        self._budget = ReplayBudget(REPLAY_MEMORY)
        self._refusals = Refusals()
        self._relays = Relays(self._refusals)
        self._door = Door(self._roster.deliver, self._refusals)
        self._guests = Guests(self._roster.deliver)
        self._shares = Shares(self, self._budget)
        self._own_ports: list[int] = []
        self._registrations: dict[str, RouterRegistration] = {}
        self._sessions: dict[bytes, tuple[TerminalSession | Jump, trio.CancelScope]] = {}
        self._links: set[ResumableLink] = set()
        self._jumps: set[bytes] = set()
        """Which of the sessions are on other hosts."""
        self._opened = 0
        self._emptied = trio.lowlevel.ParkingLot()
        self._looking_for_router = trio.Lock()
        self._opening_relay = trio.Lock()

    def __repr__(self) -> str:
        return (
            f"<Keeper sessions={self._session_count} own_ports={self._own_ports} "
            f"relays={len(self._relays)} relayed={self._relays.connections}>"
        )

    @property
    def _session_count(self) -> int:
        return len(self._roster) - len(self._relays)

    async def run(self, listener: socket.socket) -> None:
        """Serve requests at ``listener`` until there was no session or relay for LINGER_S.

        Cancellation ends all sessions with SIGHUP.
        """
        with trio.socket.from_stdlib_socket(listener) as requests:
            async with trio.open_nursery() as nursery:
                desk = Requests(partial(self._answer, nursery), self._keep)
                nursery.start_soon(desk.serve, requests)
                await self._wait_useless()
                nursery.cancel_scope.cancel()

    async def _wait_useless(self) -> None:
        while True:
            while self._roster:
                await self._emptied.park()
            opened = self._opened
            await trio.sleep(LINGER_S)
            if opened == self._opened:
                return

    async def _answer(self, nursery: trio.Nursery, request: Request, pid: int) -> bytes:
        match request:
            case OpenRequest():
                return await self._open_session(request, nursery)
            case GuestRequest():
                return await self._open_for_guest(request, nursery)
            case RelayRequest():
                return await self._open_relay(request, nursery)
            case None:
                return self._status()
            case _:
                self._open_guests_door(nursery)

                def start(serve: Callable[..., Awaitable[None]], *arguments: object) -> None:
                    nursery.start_soon(guarded, serve, *arguments)

                return INVITED + json_line(await self._shares.answer(request, pid, start))

    def _keep(self, request: Request, connection: trio.socket.SocketType) -> bool:
        """Who asked for a guest hears by the end of the connection that the session is over."""
        if not isinstance(request, GuestRequest) or request.remote:
            return False
        return self._guests.keep(request.credentials.client_id.encode(), connection)

    async def _open_session(self, request: OpenRequest, nursery: trio.Nursery) -> bytes:
        client_id = request.credentials.client_id.encode()
        registrations = await self._find_routers(request.router_socket, nursery)
        if request.kill_others:
            self.end_sessions("ended by --kill-other-sessions of another login")
        self._check_room(client_id)
        if request.destination is not None and len(self._jumps) >= MAX_JUMPS:
            what = f"{MAX_JUMPS} sessions go through this host already, which is the limit"
            raise StepFailed("keeper", what, "end some of them")
        ports = [self._port(next(iter(registrations), None), request.ports, nursery)]
        name = self._new_name()
        arrivals = self._roster.add(client_id)
        if request.destination is not None:
            self._jumps.add(client_id)
        nursery.start_soon(guarded, self._run_session, name, request, arrivals, registrations)
        if registrations:
            leads_to = Address(*request.destination) if request.destination else None
            ports = await self._register(client_id, registrations, leads_to)
        details = {"version": __version__, "port": ports[0], "router": bool(registrations)}
        if len(ports) > 1:
            details["ports"] = ports
        if sshd := request.sshd:
            details["sshd"] = sshd
        return INVITED + json_line(details)

    async def _open_for_guest(self, request: GuestRequest, nursery: trio.Nursery) -> bytes:
        client_id = request.credentials.client_id.encode()
        registrations = await self._find_routers("", nursery) if request.remote else []
        self._check_room_for_guest(client_id)
        path = self._open_guests_door(nursery)
        ports = []
        if request.remote:
            ports = [self._port(next(iter(registrations), None), None, nursery)]
        arrivals = self._roster.add(client_id)
        self._guests.add(client_id)
        name = self._new_name()
        nursery.start_soon(guarded, self._run_session, name, request, arrivals, registrations)
        if registrations:
            ports = await self._register(client_id, registrations, None)
        return INVITED + json_line({"version": __version__, "socket": path, "ports": ports})

    def _check_room_for_guest(self, client_id: bytes) -> None:
        self._check_room(client_id)
        if len(self._guests) >= MAX_GUESTS:
            self._end_a_guests()

    def _open_guests_door(self, nursery: trio.Nursery) -> str:
        try:
            return self._guests.open_door(nursery.start_soon)
        except OSError as error:
            raise StepFailed("keeper", f"no socket for guests: {error.strerror}") from error

    def _end_a_guests(self) -> None:
        """Make room for another guest: the session of who is away for longest gives way."""
        away = {
            since: (session, scope)
            for name, (session, scope) in self._sessions.items()
            if name in self._guests and isinstance(session, TerminalSession)
            if (since := session.attendance.away_since) is not None and not scope.cancel_called
        }
        if not away:
            what = f"{MAX_GUESTS} guests have sessions here already, which is the limit"
            raise StepFailed("keeper", what, "some have to end")
        session, scope = away[min(away)]
        session.farewell("others needed the room while you were away")
        scope.cancel()

    def _check_room(self, client_id: bytes) -> None:
        if self._session_count >= MAX_SESSIONS:
            raise StepFailed(
                "keeper",
                f"{MAX_SESSIONS} sessions are open already, which is the limit",
                "end some of them, or use --kill-other-sessions",
            )
        if client_id in self._roster:
            raise StepFailed("keeper", "a session with this id exists already")

    def _new_name(self) -> str:
        self._opened += 1
        return f"{os.getpid()}.{self._opened}"

    def _status(self) -> bytes:
        fields = {
            "version": __version__,
            "sessions": len(self._roster),
            "ports": self._own_ports,
            "routers": [
                {"socket": router.path, "port": router.port, "connected": router.is_connected}
                for router in self._registrations.values()
            ],
        }
        return INVITED + json_line(fields)

    async def _register(
        self,
        client_id: bytes,
        registrations: Sequence[RouterRegistration],
        leads_to: Address | None,
    ) -> list[int]:
        """Register a session; return the ports where its client may come.

        ``leads_to`` is where, if it only goes through here: an administrator may forbid that.

        Raises:
          StepFailed: the first router refuses it. What others say is no reason to.
        """
        first, *further = registrations
        if not await first.register(client_id, leads_to):
            self._sessions[client_id][1].cancel()
            if leads_to is not None:
                raise _no_relay(leads_to, first)
            raise StepFailed("router", f"the router at {first.path} refused the session")
        ports = [first.port]
        with trio.move_on_after(FURTHER_ROUTERS_S):
            for registration in further:
                taken = await registration.register(client_id, leads_to)
                if taken and registration.port not in ports:
                    ports.append(registration.port)
        return ports

    def end_sessions(self, reason: str) -> None:
        """End every session; its client is told why."""
        for session, scope in self._sessions.values():
            session.farewell(reason)
            scope.cancel()

    async def _find_routers(self, path: str, nursery: trio.Nursery) -> list[RouterRegistration]:
        async with self._looking_for_router:
            return await self._look_for_routers(path, nursery)

    async def _look_for_routers(self, path: str, nursery: trio.Nursery) -> list[RouterRegistration]:
        found = []
        for candidate in [path] if path else router_sockets_to_try():
            registration = self._registrations.get(candidate)
            if registration is None:
                registration = RouterRegistration(
                    candidate, self._from_router, self._set_share, self._end_relay
                )
                if not await registration.connect():
                    continue
                self._registrations[candidate] = registration
                nursery.start_soon(guarded, registration.run)
            elif not await registration.is_back():
                continue
            found.append(registration)
        if path and not found:
            raise StepFailed(
                "router",
                f"no trioet server listens at {path}",
                "start it (trioet serve --socket …), or leave --serverfifo away",
            )
        return found

    def _port(
        self,
        registration: RouterRegistration | None,
        wished: tuple[int, int] | None,
        nursery: trio.Nursery,
    ) -> int:
        """Where connections are to come to: the router's port, or one of our own."""
        if registration is not None:
            return registration.port
        first, last = wished or OWN_PORTS
        return self._listen_by_itself(range(first, last + 1), nursery)

    def _listen_by_itself(self, ports: range, nursery: trio.Nursery) -> int:
        for port in self._own_ports:
            if port in ports:
                return port
        for port in ports:
            try:
                listener = _listen(port)
            except OSError:
                continue
            self._own_ports.append(port)
            nursery.start_soon(self._door.serve, listener)
            return port
        raise StepFailed(
            "port",
            f"no trioet server runs on this machine, and no port of {ports[0]}-{ports[-1]} is free",
            "start `trioet serve` there, or choose another port: trioet connect --port N",
        )

    def _from_router(self, client_id: bytes, sock: socket.socket, preface: bytes) -> None:
        if client_id not in self._roster:
            sock.close()  # over since a moment ago; the client will come again and be told
            return
        self._roster.deliver(client_id, (sock, preface))

    def _set_share(self, replay_memory: int) -> None:
        self._budget.limit = replay_memory
        for link in self._links:
            link.look_for_room()

    # Relays

    async def _open_relay(self, request: RelayRequest, nursery: trio.Nursery) -> bytes:
        where = Address(request.host, request.port)
        registrations = await self._find_routers(request.router_socket, nursery)
        registration = next(iter(registrations), None)
        async with self._opening_relay:
            door = registration.path if registration is not None else ""
            relay = self._relays.find(where, door)
            if relay is None:
                relay = await self._new_relay(where, registration, nursery)
            port = self._port(registration, request.ports, nursery)
        details = {
            "id": relay.id.decode(),
            "version": __version__,
            "port": port,
            "router": registration is not None,
        }
        return RELAYING + json_line(details)

    def _end_relay(self, client_id: bytes) -> None:
        """What leads on with this id is forbidden from now on."""
        self._relays.end(client_id)
        if client_id in self._jumps:
            self._sessions[client_id][1].cancel()

    async def _new_relay(
        self, where: Address, registration: RouterRegistration | None, nursery: trio.Nursery
    ) -> Relay:
        if len(self._relays) >= MAX_RELAYS:
            raise StepFailed(
                "relay",
                f"{MAX_RELAYS} relays are there already, which is the limit",
                "end this user's keeper there: that ends them, and the sessions it has",
            )
        relay_id = new_real_credentials().client_id.encode()
        door = registration.path if registration is not None else ""
        relay = self._relays.add(relay_id, where, door)
        arrivals = self._roster.add(relay_id)
        nursery.start_soon(guarded, self._run_relay, relay, arrivals, registration)
        if registration is not None and not await registration.register(relay_id, where):
            relay.scope.cancel()
            raise _no_relay(where, registration)
        return relay

    async def _run_relay(
        self,
        relay: Relay,
        arrivals: trio.MemoryReceiveChannel[Arrival],
        registration: RouterRegistration | None,
    ) -> None:
        self._opened += 1
        log.info("relay to %s opened", relay.where)
        try:
            await self._relays.serve(relay, arrivals)
        finally:
            self._roster.remove(relay.id)
            if registration is not None:
                registration.remove(relay.id)
            if not self._roster:
                self._emptied.unpark_all()
            log.info("relay to %s over", relay.where)

    # Viewers

    def session_named(self, name: str) -> TerminalSession | None:
        for session, _ in self._sessions.values():
            if isinstance(session, TerminalSession) and session.name == name:
                return session
        return None

    def admit(self, client_id: bytes) -> trio.MemoryReceiveChannel[Arrival]:
        self._check_room_for_guest(client_id)
        self._guests.add(client_id)
        return self._roster.add(client_id)

    async def serve(
        self,
        viewer: Viewer,
        link: ResumableLink,
        arrivals: trio.MemoryReceiveChannel[Arrival],
    ) -> None:
        self._links.add(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_arrivals, link, arrivals, nursery)
            await viewer.run(link)
            nursery.cancel_scope.cancel()

    def dismiss(self, client_id: bytes, link: ResumableLink) -> None:
        self._roster.remove(client_id)
        self._guests.discard(client_id)
        self._links.discard(link)
        link.close()
        if not self._roster:
            self._emptied.unpark_all()

    # One session

    async def _run_session(
        self,
        name: str,
        request: OpenRequest | GuestRequest,
        arrivals: trio.MemoryReceiveChannel[Arrival],
        registrations: Sequence[RouterRegistration],
    ) -> None:
        session = self._new_session(name, request)
        client_id = request.credentials.client_id.encode()
        passkey = request.credentials.passkey.encode()
        relays = isinstance(session, Jump)
        link = ResumableLink(passkey, Role.SERVER, session, budget=self._budget, relays=relays)
        links = {link, session.onward} if isinstance(session, Jump) else {link}
        self._links |= links
        log.info("session %s opened", name)
        try:
            async with trio.open_nursery() as nursery:
                self._sessions[client_id] = session, nursery.cancel_scope
                nursery.start_soon(self._serve_arrivals, link, arrivals, nursery)
                await session.run(link)
                nursery.cancel_scope.cancel()
        finally:
            del self._sessions[client_id]
            self._roster.remove(client_id)
            self._jumps.discard(client_id)
            self._guests.discard(client_id)
            for registration in registrations:
                registration.remove(client_id)
            self._links -= links
            link.close()
            for other in self._links:
                other.look_for_room()
            if not self._roster:
                self._emptied.unpark_all()
            log.info("session %s over", name)

    def _new_session(
        self, name: str, request: OpenRequest | GuestRequest
    ) -> TerminalSession | Jump:
        if isinstance(request, GuestRequest):
            origin = Origin(request.term, request.environment, name, grant=request.grant)
            return TerminalSession(origin)
        if request.destination is not None:
            return Jump(name, request.credentials, request.destination, self._budget)
        origin = Origin(request.term, request.environment, name, make_runtime_dir())
        return TerminalSession(origin)

    async def _serve_arrivals(
        self,
        link: ResumableLink,
        arrivals: trio.MemoryReceiveChannel[Arrival],
        nursery: trio.Nursery,
    ) -> None:
        with arrivals:
            try:
                async for sock, preface in arrivals:
                    nursery.start_soon(guarded, self._serve_connection, link, sock, preface)
            finally:
                with suppress(trio.WouldBlock, trio.EndOfChannel):
                    while True:
                        arrivals.receive_nowait()[0].close()

    async def _serve_connection(
        self, link: ResumableLink, sock: socket.socket, preface: bytes
    ) -> None:
        sock.setblocking(False)
        try:
            request, _ = first_request(preface)
        except PeerError as error:
            self._refusals.note(source_of(sock), error)
            sock.close()
            return
        if request.relay:
            self._refusals.note(source_of(sock), "a relay was asked for by the id of a session")
            await tell_failure(sock, RelayFailure(request.client_id, unknown=True))
            return
        await self._serve_line(link, SocketLine(sock), preface)

    async def _serve_line(self, link: ResumableLink, line: SocketLine, preface: bytes) -> None:
        try:
            await link.run_server_line(line, preface)
        except (TrioetError, Unproven) as error:
            self._refusals.note(line.source, error)
        except LineBroken as error:
            log.info("connection from %s ended: %s", line.peer_name, error)


def _listen(port: int) -> socket.socket:
    """Listen on all addresses, IPv6 and IPv4 through one socket where both exist."""
    both = socket.has_dualstack_ipv6()
    return socket.create_server(
        ("", port),
        family=socket.AF_INET6 if both else socket.AF_INET,
        dualstack_ipv6=both,
        backlog=128,
    )


def _no_relay(where: Address, registration: RouterRegistration) -> StepFailed:
    match registration.relaying:
        case "none":
            what = "relaying is switched off on this machine (trioet serve --no-relay)"
        case "some":
            what = f"no relay may lead to {where.host} port {where.port} from this machine"
        case _:
            what = f"the router at {registration.path} refused the relay"
    return StepFailed("relay", what, "ask its administrator: trioet serve --relay-to PLACE")
