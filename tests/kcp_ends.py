"""The client's end of KCP, and a network for it that loses and reorders."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from scon_ends import Ends, serving
from trioet.link.line import SocketLine
from trioet.scon.kcp_conversation import Conversation
from trioet.scon.kcp_listener import KcpListener
from trioet.scon.kcp_option import KcpOption
from trioet.wire.kcp_segments import segments

OPTION = KcpOption()


async def udp() -> trio.socket.SocketType:
    """A UDP socket on loopback."""
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    return sock


@asynccontextmanager
async def serving_kcp(option: KcpOption = OPTION) -> AsyncIterator[tuple[Ends, KcpListener, int]]:
    """A server for TCP and KCP, with the port of the second."""
    async with serving() as ends:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        listener = KcpListener(ends.server, option)
        ends.nursery.start_soon(listener.serve, sock)
        yield ends, listener, sock.getsockname()[1]


async def dial_kcp(nursery: trio.Nursery, port: int) -> SocketLine:
    """A conversation with that port, as a line."""
    sock = await udp()
    await sock.connect(("127.0.0.1", port))
    conversation = Conversation(secrets.randbits(32), OPTION, trio.current_time())
    conversation.proven = True  # the server's address is no stranger's
    ours, its = socket.socketpair()
    bridge = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    scope = trio.CancelScope()

    async def flush() -> None:
        for datagram in conversation.flush(trio.current_time()):
            with suppress(OSError):
                await sock.send(datagram)

    async def tick() -> None:
        while True:
            await trio.sleep(OPTION.opt_interval / 1000)
            await flush()

    async def up() -> None:
        try:
            async for data in bridge:
                conversation.send(bytes(data))
                while not conversation.has_room:  # noqa: ASYNC110 - it is a test
                    await trio.sleep(0.005)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def down() -> None:
        while True:
            datagram = await sock.recv(2000)
            conversation.input(datagram, segments(datagram), trio.current_time())
            while data := conversation.received():
                try:
                    await bridge.send_all(data)
                except trio.BrokenResourceError:
                    scope.cancel()

    async def run() -> None:
        with sock, scope:
            async with bridge, trio.open_nursery() as tasks:
                for task in (tick, up, down):
                    tasks.start_soon(task)

    nursery.start_soon(run)
    return SocketLine(its)


async def faulty_relay(
    to_port: int,
    dice: random.Random,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Carries datagrams; loses one in ten, doubles some, and lets others overtake."""
    ways: dict[object, trio.socket.SocketType] = {}
    near = await udp()

    async def later(sock: trio.socket.SocketType, datagram: bytes, to: tuple[object, ...]) -> None:
        await trio.sleep(dice.random() * 0.02)
        with suppress(OSError):
            await sock.sendto(datagram, to)

    def carry(sock: trio.socket.SocketType, datagram: bytes, to: tuple[object, ...]) -> None:
        for _ in range(dice.choices([0, 1, 2], [10, 85, 5])[0]):
            nursery.start_soon(later, sock, datagram, to)

    async def back(far: trio.socket.SocketType, client: tuple[object, ...]) -> None:
        while True:
            carry(near, await far.recv(2000), client)

    try:
        async with trio.open_nursery() as nursery:
            task_status.started(near.getsockname()[1])
            while True:
                datagram, client = await near.recvfrom(2000)
                if client not in ways:
                    ways[client] = await udp()
                    nursery.start_soon(back, ways[client], client)
                carry(ways[client], datagram, ("127.0.0.1", to_port))
    finally:
        for sock in (near, *ways.values()):
            sock.close()
