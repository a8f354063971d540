"""Two ends of a session that has nothing but channels: real links, real sockets, for tests."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from unittest.mock import patch

import trio
from trio.testing import wait_all_tasks_blocked

from lines import Cable
from pairs import ID, KEY
from trioet.errors import TrioetError
from trioet.link import pace, resumable, room
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.session import channel, forwards
from trioet.session.channel import Traffic
from trioet.session.forwards import Forwards
from trioet.session.tunnels import Tunnel
from trioet.wire.channels import ChannelData, ChannelMessage, ChannelOpen, TrioetChannels, Unlisten
from trioet.wire.et_channels import EtChannels
from trioet.wire.forward import Address, Endpoint
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.packet import Packet, PacketType

HERE = Address("127.0.0.1", 0)
"""To listen on: any port."""


class End:
    """A receiver, its link and its channels. Its policy admits all, unless told otherwise."""

    def __init__(self, role: Role, nursery: trio.Nursery, *, et: bool) -> None:
        self.nursery = nursery
        self.link = ResumableLink(KEY, role, self)
        parity, first = (0, 1) if role is Role.CLIENT else (1, 2)
        peer = EtChannels(parity) if et else TrioetChannels()
        self.forwards = Forwards(self.link, peer, self, nursery, first)
        self.traffic = Traffic("a tunnel")
        self.typed: list[bytes] = []
        self.bulk = 0
        """Bytes of channels that came before anything was typed."""
        self.granted = 0
        self.said: list[Listen | Listening | Unlisten] = []
        self.asked: list[ChannelOpen] = []
        self.leads_to: Callable[[ChannelOpen], Endpoint | None] = lambda asked: asked.destination

    # Receiver

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type == PacketType.TERMINAL_BUFFER:
            self.typed.append(packet.payload)
        else:
            self.bulk += 0 if self.typed else len(packet.payload)
            self.forwards.arrived(packet)

    async def ready(self) -> None:
        await self.forwards.ready()
        self.link.dealt_with()

    # Policy

    def admit(self, message: ChannelOpen) -> tuple[Endpoint, Traffic] | None:
        self.asked.append(message)
        where = self.leads_to(message)
        return (where, self.traffic) if where is not None else None

    def listen_said(self, message: Listen | Listening | Unlisten) -> None:
        self.said.append(message)

    def credited(self, amount: int) -> None:
        self.granted += amount

    # For tests

    def type(self, text: bytes) -> None:
        self.link.send(PacketType.TERMINAL_BUFFER, text)

    async def tunnel(
        self,
        destination: Endpoint | None,
        where: Endpoint = HERE,
        *,
        dynamic: bool = False,
        datagrams: bool = False,
    ) -> Tunnel:
        """Listen at this end."""
        tunnel = Tunnel(
            Traffic("a tunnel"),
            self.forwards,
            destination=destination,
            dynamic=dynamic,
            datagrams=datagrams,
        )
        await self.nursery.start(tunnel.run, where)
        return tunnel


class Ends:
    """A client and a server, which know each other already."""

    def __init__(self, nursery: trio.Nursery, *, et: bool = False) -> None:
        self.nursery = nursery
        self.client = End(Role.CLIENT, nursery, et=et)
        self.server = End(Role.SERVER, nursery, et=et)
        if not et:
            self.client.link.agree_acks()
            self.server.link.agree_acks()

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def connect(self, cable: Cable | None = None) -> Cable:
        """Run both ends of a cable, and let both prove themselves."""
        cable = cable or Cable()
        self.nursery.start_soon(self._run_client, cable.client)
        self.nursery.start_soon(self._run_server, cable.server)
        self.client.link.send_keepalive()
        return cable

    async def _run_client(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            await self.client.link.run_client_line(line, ID)

    async def _run_server(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            await self.server.link.run_server_line(line, b"")


class _Faults(logging.Handler):
    """What was raised where nothing should be."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.found.append(record.exc_info[1])


@contextmanager
def no_fault() -> Iterator[None]:
    """A fault of ours costs a connection and is logged; here it is a failure."""
    faults, log = _Faults(), logging.getLogger("trioet.session.forwards")
    log.addHandler(faults)
    try:
        yield
    finally:
        log.removeHandler(faults)
    if faults.found:
        raise faults.found[0]


@asynccontextmanager
async def two_ends(*, et: bool = False, cable: Cable | None = None) -> AsyncIterator[Ends]:
    """Two ends that are connected; cancelled at the end."""
    with no_fault():
        async with trio.open_nursery() as nursery:
            ends = Ends(nursery, et=et)
            ends.connect(cable)
            await wait_all_tasks_blocked()
            yield ends
            nursery.cancel_scope.cancel()


class Foreigner:
    """A peer that says what the test wants, to an end that is real."""

    def __init__(self, nursery: trio.Nursery, role: Role, *, et: bool = False) -> None:
        """``role`` is that of the real end."""
        self.end = End(role, nursery, et=et)
        other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self.link = ResumableLink(KEY, other, self)
        parity = 0 if role is Role.SERVER else 1
        self.dialect = EtChannels(parity) if et else TrioetChannels()
        self.heard: list[ChannelMessage] = []
        self.complaints: list[Exception] = []
        self._nursery = nursery
        if not et:
            self.end.link.agree_acks()
            self.link.agree_acks()

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type != PacketType.TERMINAL_BUFFER:
            message = self.dialect.decode(packet)
            if message is not None:
                self.heard.append(message)

    async def ready(self) -> None:
        self.link.dealt_with()

    def connect(self) -> None:
        cable = Cable()
        client, server = self.end.link, self.link
        if self.end.link.role is Role.SERVER:
            client, server = server, client
        self._nursery.start_soon(self._run, client.run_client_line, cable.client, ID)
        self._nursery.start_soon(self._run, server.run_server_line, cable.server, b"")
        client.send_keepalive()

    async def _run(self, run: Callable[..., object], *arguments: object) -> None:
        try:
            await run(*arguments)  # type: ignore[misc]
        except (LineBroken, TrioetError) as error:
            self.complaints.append(error)

    def say(self, message: ChannelMessage) -> None:
        packet = self.dialect.encode(message)
        if packet is not None:
            self.link.send(*packet)

    def data(self, channel: int) -> bytes:
        """All bytes that were heard of one channel."""
        return b"".join(
            bytes(each.data) for each in self.of(channel) if isinstance(each, ChannelData)
        )

    def of(self, channel: int) -> list[ChannelMessage]:
        """What was heard of one channel."""
        return [each for each in self.heard if getattr(each, "channel", None) == channel]


@asynccontextmanager
async def foreigner(role: Role, *, et: bool = False) -> AsyncIterator[Foreigner]:
    """A real end in that role, and a peer of the test's."""
    with no_fault():
        async with trio.open_nursery() as nursery:
            stranger = Foreigner(nursery, role, et=et)
            stranger.connect()
            await wait_all_tasks_blocked()
            yield stranger
            nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Sizes:
    """What bounds the channels, made so small that everything is full all the time."""

    cable: int
    window: int
    acknowledge: int
    chunk: int
    credit: int

    @contextmanager
    def in_force(self) -> Iterator[None]:
        with ExitStack() as patches:
            for module, values in (
                (pace, {"LEAST_WINDOW": self.window, "MOST_WINDOW": 2 * self.window}),
                (pace, {"LEAST_CHUNK": self.chunk, "MOST_CHUNK": self.chunk}),
                (room, {"WINDOW": self.window, "NOTSENT_LOWAT": self.chunk}),
                (resumable, {"ACK_EVERY": self.acknowledge}),
                (channel, {"FIRST_CREDIT": self.credit, "MOST_CREDIT": 2 * self.credit}),
                (forwards, {"FIRST_CREDIT": self.credit, "MAX_EXTRA": 3 * self.credit}),
                (forwards, {"EARLY": self.credit // 2}),
            ):
                for name, value in values.items():
                    patches.enter_context(patch.object(module, name, value))
            yield


class Place:
    """Where a tunnel leads: a socket that listens, for streams."""

    def __init__(self, sock: socket.socket, where: Endpoint) -> None:
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self.where = where

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(10):
            return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """A port of this machine."""
    sock = socket.create_server(("127.0.0.1", 0))
    made = Place(sock, Address(*sock.getsockname()))
    try:
        yield made
    finally:
        await made.aclose()


async def streams(
    ends: Ends, at: End, leads_to: Place
) -> tuple[trio.SocketStream, trio.SocketStream]:
    """A connection through a new tunnel that listens at that end: near and far application."""
    tunnel = await at.tunnel(leads_to.where)
    near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
    return near, await leads_to.accept()


async def receive_all(stream: trio.SocketStream) -> bytes:
    """Everything until the end."""
    found = bytearray()
    with trio.fail_after(30):
        async for part in stream:
            found += part
    return bytes(found)


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    found = bytearray()
    with trio.fail_after(30):
        while len(found) < size:
            part = await stream.receive_some(size - len(found))
            assert part, f"the end after {len(found)} of {size} bytes"
            found += part
    return bytes(found)


def reset(stream: trio.SocketStream) -> None:
    """Close as a program that crashes: the other end sees a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes that tell where they belong: nothing that is lost, doubled or moved goes unseen."""
    words = struct.Struct(">II")
    return b"".join(words.pack(seed, place) for place in range(size // 8 + 1))[:size]
