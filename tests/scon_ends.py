"""Both ends of an SCP session in one process, over real sockets: a server, backends, and a
proxy between client and server that can cut."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from scon_caller import Caller
from trioet.link.dial import dial as dial_tcp
from trioet.scon.policy import Policy
from trioet.scon.server import Backend, Call, Dial, SconServer

QUICK = Policy(handshake_timeout=5.0, reuse_time=5.0)

Handler = Callable[[trio.SocketStream], Awaitable[object]]


async def echo(stream: trio.SocketStream) -> None:
    """A backend that says what it is told, until the end."""
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def listen(nursery: trio.Nursery, handler: Handler) -> int:
    """Serve on a port of loopback; return it."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    return int(listener.socket.getsockname()[1])


def reset_at_close(stream: trio.SocketStream) -> None:
    """What was not sent is lost, and the peer is told so."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dial_port(port: int, announcement: bytes = b"") -> Dial:
    async def dial(_: Call) -> Backend:
        return Backend(await dial_tcp("127.0.0.1", port), announcement)

    return dial


@dataclass
class Ends:
    """A running server, and the port at which it is reached."""

    server: SconServer
    port: int
    nursery: trio.Nursery
    calls: list[Call]
    callers: list[Caller] = field(default_factory=list)

    def caller(self) -> Caller:
        """A client, whose connections are closed when the server is."""
        self.callers.append(Caller(self.port))
        return self.callers[-1]


@asynccontextmanager
async def serving(
    handler: Handler = echo, policy: Policy = QUICK, announcement: bytes = b""
) -> AsyncIterator[Ends]:
    """A server in front of a backend, while the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    async with trio.open_nursery() as nursery:
        port = await listen(nursery, handler)
        calls: list[Call] = []
        to_backend = dial_port(port, announcement)

        async def dial(call: Call) -> Backend:
            calls.append(call)
            return await to_backend(call)

        server = SconServer(dial, policy)
        nursery.start_soon(server.serve, listener)
        ends = Ends(server, listener.getsockname()[1], nursery, calls)
        try:
            yield ends
        finally:
            for caller in ends.callers:
                caller.close()
        nursery.cancel_scope.cancel()


class Cutter:
    """A proxy on loopback whose connections can be reset, at once or after so many bytes."""

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self.connections = 0
        self.cut_after: Callable[[], tuple[int, int] | None] = lambda: None
        """Asked for each connection: bytes up and down after which it is reset."""
        self.change: Callable[[int, bytes], bytes] = lambda connection, data: data
        """Called with what goes down: for attackers."""
        self._to_port = to_port
        self._scopes: list[trio.CancelScope] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._carry, [listener])

    def cut(self) -> None:
        """Reset every connection there is."""
        for scope in self._scopes:
            scope.cancel()

    async def _carry(self, near: trio.SocketStream) -> None:
        self.connections += 1
        number = self.connections
        up, down = self.cut_after() or (-1, -1)
        scope = trio.CancelScope()
        self._scopes.append(scope)
        async with near, await trio.open_tcp_stream("127.0.0.1", self._to_port) as far:
            with scope:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._copy, near, far, up, scope, 0)
                        nursery.start_soon(self._copy, far, near, down, scope, number)
                except* trio.BrokenResourceError:
                    scope.cancel()
            if scope.cancel_called:
                reset_at_close(near)
                reset_at_close(far)

    async def _copy(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        limit: int,
        cut: trio.CancelScope,
        connection: int,
    ) -> None:
        carried = 0
        async for data in source:
            if connection:
                data = self.change(connection, bytes(data))
            if limit >= 0 and carried + len(data) >= limit:
                await sink.send_all(data[: limit - carried])
                cut.cancel()
                return
            carried += len(data)
            await sink.send_all(data)
        await sink.send_eof()
