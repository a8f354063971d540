"""Hosts with a keeper each, in one process, and sessions that go through them; for tests."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from callers import ECHO, Caller, ask, invitation
from ends import reset
from trioet.errors import TrioetError
from trioet.link.chain import Chain, Hop
from trioet.link.dial import dial
from trioet.link.line import Line
from trioet.link.reconnect import Reconnector
from trioet.server.keeper import Keeper
from trioet.server.local import bind_local
from trioet.server.relay_policy import ANYWHERE, RelayPolicy
from trioet.server.request import RELAYING, RelayRequest
from trioet.server.router import Router
from trioet.wire.messages import Exec, InitialPayload, encode_initial_payload
from trioet.wire.packet import PacketType

FEATURES = ("acks", "over", "exec")


class Leg:
    """The network in front of one machine: listens, passes on, and fails when told to."""

    def __init__(self, leads_to: int) -> None:
        self.heard = bytearray()
        """All that went through, both ways."""
        self.port = 0
        self._leads_to = leads_to
        self._open: set[trio.SocketStream] = set()
        self._scope = trio.CancelScope()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, at the same port as before if there was one."""
        with trio.CancelScope() as self._scope:
            listener = socket.create_server(("127.0.0.1", self.port))
            self.port = listener.getsockname()[1]
            stream = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await trio.serve_listeners(self._pass_on, [stream], task_status=task_status)  # type: ignore[arg-type]

    def close(self) -> None:
        """Nobody listens there any more; all connections are reset."""
        self.cut()
        self._scope.cancel()

    def cut(self) -> None:
        """Reset every connection, both ends: what is under way is lost."""
        for stream in self._open:
            reset(stream)
        self._open.clear()

    async def _pass_on(self, near: trio.SocketStream) -> None:
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self._leads_to)
        except OSError:
            return
        both = {near, far}
        self._open |= both
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
            nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        self._open -= both

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                self.heard += data
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            both.cancel()


class Machine:
    """A keeper and a router. The way to its port can be cut."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        directory.mkdir(mode=0o700)
        self.keeper_path = str(directory / "keeper.sock")
        self.router_path = str(directory / "router.sock")
        self._nursery = nursery
        self.router: Router
        self.leg: Leg
        self.ended = False
        self.keeper: Keeper
        self._keeper_scope = trio.CancelScope()
        self._router_scope = trio.CancelScope()

    async def begin(self, policy: RelayPolicy = ANYWHERE) -> Machine:
        """Start all."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._behind: int = listener.getsockname()[1]
        self.leg = Leg(self._behind)
        await self._nursery.start(self.leg.serve)
        self.port = self.leg.port
        self.start_router(listener, policy)
        self.start_keeper()
        return self

    def start_router(self, listener: socket.socket, policy: RelayPolicy = ANYWHERE) -> None:
        self.router = Router(port=self.port, replay_memory=1 << 30, relay_policy=policy)
        self._router_scope = trio.CancelScope()
        self._nursery.start_soon(self._serve_router, listener, self._router_scope)

    async def _serve_router(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.router.serve_keepers, bind_local(self.router_path, 0o600))
                nursery.start_soon(self.router.door.serve, listener)

    async def restart_router(self, policy: RelayPolicy = ANYWHERE) -> None:
        """Another router takes its place, at the same port."""
        self.stop_router()
        await wait_all_tasks_blocked()
        address = ("127.0.0.1", self._behind)
        self.start_router(socket.create_server(address), policy)

    def stop_router(self) -> None:
        """It is gone, as if there had never been one."""
        self._router_scope.cancel()

    async def come_directly(self, source: str) -> trio.SocketStream:
        """Connect to the router from that address of this machine."""
        return await trio.open_tcp_stream("127.0.0.1", self._behind, local_address=source)

    def start_keeper(self) -> None:
        """Start a keeper, which knows nothing of one before."""
        listener = socket.socket(socket.AF_UNIX)
        Path(self.keeper_path).unlink(missing_ok=True)
        listener.bind(self.keeper_path)
        listener.listen(64)
        self.keeper = Keeper()
        self._keeper_scope = trio.CancelScope()
        self._nursery.start_soon(self._serve_keeper, listener, self._keeper_scope)

    async def _serve_keeper(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            await self.keeper.run(listener)
        self.ended = True

    def kill_keeper(self) -> None:
        """Its sessions and relays are gone."""
        self._keeper_scope.cancel()

    async def ask_relay(self, port: int, host: str = "127.0.0.1") -> bytes:
        """Ask for a relay; return the answer."""
        request = RelayRequest(host, port, router_socket=self.router_path)
        return await ask(self.keeper_path, request.encode())

    async def ask_relay_at_own_door(self, port: int, own_port: int) -> bytes:
        """Ask for a relay where there is no router; return the answer."""
        request = RelayRequest("127.0.0.1", port, ports=(own_port, own_port))
        return await ask(self.keeper_path, request.encode())

    async def relay(self, port: int, host: str = "127.0.0.1") -> bytes:
        """Have a relay; return its id."""
        fields = offer(await self.ask_relay(port, host))
        assert fields["port"] == self.port
        return str(fields["id"]).encode()


def offer(answer: bytes) -> dict[str, Any]:
    """What an answer that grants a relay says."""
    assert answer.startswith(RELAYING), answer
    fields: dict[str, Any] = json.loads(answer.removeprefix(RELAYING))
    return fields


class Traveller(Caller):
    """A session that is used through relays."""

    def __init__(self, nursery: trio.Nursery, machines: Sequence[Machine]) -> None:
        super().__init__(nursery)
        self.machines = machines
        self.chain = Chain([])
        self.reconnector: Reconnector | None = None

    async def travel(self, command: bytes = ECHO, way: Sequence[Hop] | None = None) -> Traveller:
        """Open the session on the last machine, and connect to it through all others."""
        destination = self.machines[-1]
        request = self.request(router_socket=destination.router_path)
        assert invitation(await ask(destination.keeper_path, request))
        if way is None:
            await self.find_way()
        else:
            self.chain.hops = tuple(way)
        payload = InitialPayload(features=FEATURES, exec=Exec(command, pty=False))
        self.link.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        self._nursery.start_soon(self._keep_travelling)
        return self

    def shows_more_than(self, size: int) -> bool:
        """True when the program has written more than so many bytes."""
        return len(self.shown) > size

    @property
    def reason(self) -> str:
        """Why there is no line, as its user is told."""
        return self.reconnector.reason if self.reconnector is not None else ""

    async def find_way(self) -> None:
        """Ask every hop for its relay."""
        *hops, destination = self.machines
        port, found = destination.port, []
        for number, machine in reversed(list(enumerate(hops, 1))):
            found.append(Hop(f"hop{number}", await machine.relay(port)))
            port = machine.port
        self.chain.hops = tuple(reversed(found))

    async def _dial(self) -> Line:
        first = self.machines[0].port
        return await self.chain.dial(lambda: dial("127.0.0.1", first))

    async def _keep_travelling(self) -> None:
        client_id = self.credentials.client_id.encode()
        self.reconnector = Reconnector(self.link, client_id, self._dial)
        self.link.on_change = self.reconnector.line_changed
        try:
            await self.reconnector.run()
        except* TrioetError as errors:
            self.lost = next(error for error in errors.exceptions if isinstance(error, TrioetError))
