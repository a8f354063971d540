"""ET's jumphost in a keeper: what it carries, what it answers itself, and what ends it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from callers import Caller, ask, invitation, refusal
from descriptors import descriptors
from overheard import is_returning, packets_in
from pairs import Inbox
from trioet.bootstrap.credentials import Credentials
from trioet.errors import TrioetError
from trioet.link.line import LineBroken, SocketLine
from trioet.link.resumable import ResumableLink, Role
from trioet.server import jump as jump_module
from trioet.server import keeper as keeper_module
from trioet.server.keeper import Keeper
from trioet.server.request import OpenRequest
from trioet.wire.handshake import connect_response_frame
from trioet.wire.messages import (
    ConnectResponse,
    ConnectStatus,
    InitialPayload,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_initial_payload,
    decode_initial_response,
    encode_initial_payload,
    encode_initial_response,
    encode_session_over,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType
from waiting import until

KEEP_ALIVE_SIZE = 26
"""Sealed, with a count: the answer to the last one is always on its way."""

UNKNOWN_FIELD = b"\xca\x3e\x05hello"
"""Field 1001, five bytes."""


class Destination:
    """A server of one session, which does as it likes: what a jumphost has to cope with."""

    def __init__(self, nursery: trio.Nursery, credentials: Credentials) -> None:
        self.inbox = Inbox()
        self.link = ResumableLink(credentials.passkey.encode(), Role.SERVER, self.inbox)
        self.inbox.link = self.link
        self.forgotten = False
        """True: whoever comes is not known."""
        self.denied = 0
        self.connections = 0
        self._nursery = nursery
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        with trio.socket.from_stdlib_socket(self._listener) as listener:
            while True:
                connection, _ = await listener.accept()
                self._nursery.start_soon(self._converse, socket.socket(fileno=connection.detach()))

    async def _converse(self, sock: socket.socket) -> None:
        line = SocketLine(sock)
        self.connections += 1
        if self.forgotten:
            await self._deny(line)
            return
        with suppress(LineBroken, TrioetError):
            await self.link.run_server_line(line, b"")

    async def _deny(self, line: SocketLine) -> None:
        try:
            with suppress(LineBroken):
                await line.receive()
                line.try_send(connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY)))
        finally:
            line.close()
        self.denied += 1

    def forget(self) -> None:
        """The session is over; an etserver has no other way to say so."""
        self.forgotten = True
        for line in self.link.lines:
            line.close()

    def answer(self, response: InitialResponse | None = None) -> None:
        """Accept the session, or refuse it."""
        payload = encode_initial_response(response or InitialResponse())
        self.link.send(PacketType.INITIAL_RESPONSE, payload)

    def print(self, text: bytes) -> None:
        self.link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))

    async def until_typed(self, text: bytes) -> None:
        typed = encode_terminal_buffer(text)
        await until(lambda: typed in self.inbox.payloads)

    async def heard(self, count: int) -> list[Packet]:
        """The first packets, once there are so many; KEEP_ALIVEs are not among them."""
        await until(lambda: len(self.inbox.packets) >= count)
        return self.inbox.packets


class Jumphost:
    """A machine with a keeper."""

    def __init__(self, directory: Path, nursery: trio.Nursery, port: int) -> None:
        self.path = str(directory / "keeper.sock")
        self.port = port
        self.keeper = Keeper()
        self.scope = trio.CancelScope()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        nursery.start_soon(self._run, listener)

    async def _run(self, listener: socket.socket) -> None:
        with self.scope:
            await self.keeper.run(listener)

    async def until_sessions(self, count: int) -> None:
        await until(lambda: f"sessions={count} " in repr(self.keeper))


class Traveller(Caller):
    """A caller whose session is behind a jumphost."""

    def request_jump(self, host: Jumphost, port: int, name: str = "127.0.0.1") -> bytes:
        return OpenRequest(
            self.credentials, "xterm", {}, ports=(host.port, host.port), destination=(name, port)
        ).encode()

    async def jump(self, host: Jumphost, port: int, payload: bytes | None = None) -> None:
        """Ask for the jump and set out; other than :meth:`begin`, with any first packet."""
        told = invitation(await ask(host.path, self.request_jump(host, port)))
        self.set_out(told["port"], payload)

    def set_out(self, port: int, payload: bytes | None = None) -> None:
        """Keep connected to the jumphost, by way of that port."""
        first = payload or encode_initial_payload(InitialPayload(jumphost=True))
        self.link.send(PacketType.INITIAL_PAYLOAD, first)
        self.port = port
        self._nursery.start_soon(self._keep_connected)

    async def response(self) -> InitialResponse:
        """What the first packet says."""
        await until(lambda: self.inbox.packets)
        assert self.inbox.packets[0].type == PacketType.INITIAL_RESPONSE
        return decode_initial_response(self.inbox.packets[0].payload)


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@pytest.fixture
def jumphost(runtime_dir: Path, nursery: trio.Nursery, free_tcp_port: int) -> Jumphost:
    return Jumphost(runtime_dir, nursery, free_tcp_port)


@pytest.fixture
def traveller(nursery: trio.Nursery) -> Traveller:
    return Traveller(nursery)


@pytest.fixture
def destination(nursery: trio.Nursery, traveller: Traveller) -> Destination:
    return Destination(nursery, traveller.credentials)


# What is carried


async def test_the_first_packet_is_as_it_was_but_for_the_jumphost(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    said = InitialPayload(environment={b"A": b"\xff"}, jumphost=True, features=("over", "new"))
    first = encode_initial_payload(said) + UNKNOWN_FIELD
    await traveller.jump(jumphost, destination.port, first)
    (packet,) = await destination.heard(1)
    assert packet.payload.startswith(first)
    heard = decode_initial_payload(packet.payload)
    assert not heard.jumphost
    assert (heard.environment, heard.features) == (said.environment, said.features)


async def test_both_ways_all_is_carried_as_it_is(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    await traveller.jump(jumphost, destination.port)
    size = encode_terminal_info(WindowSize(24, 80))
    traveller.link.send(PacketType.TERMINAL_INFO, size)
    traveller.type(b"typed")
    destination.answer(InitialResponse(b"", ("acks",), "1.2"))
    destination.print(b"printed")
    assert await traveller.response() == InitialResponse(b"", ("acks",), "1.2")
    await traveller.until_shown(b"printed")
    assert (await destination.heard(3))[1:] == [
        Packet(PacketType.TERMINAL_INFO, size),
        Packet(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(b"typed")),
    ]


async def test_the_ends_acknowledge_to_each_other(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    destination.print(b"printed")
    await traveller.until_shown(b"printed")
    traveller.link.send_keepalive()
    await until(lambda: destination.link.in_flight <= KEEP_ALIVE_SIZE)
    await until(lambda: destination.link.peer_acknowledges and traveller.link.peer_acknowledges)


class Tap:
    """A network that can be cut, and is overheard."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._port = port
        self._lines: list[Overheard] = []

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._relay, [listener])

    def hush(self) -> None:
        """Carry nothing more on the connections that are there, and say nothing of it."""
        for line in self._lines:
            line.hushed = True

    def cut(self) -> None:
        self.cuts += 1
        for line in self._lines:
            line.scope.cancel()

    async def _relay(self, near: trio.SocketStream) -> None:
        line = Overheard()
        self._lines.append(line)
        with line.scope:
            far = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(line.carry, near, far, line.up)
                nursery.start_soon(line.carry, far, near, line.down)

    def packets(self, *, upward: bool) -> set[bytes]:
        """The packets that went one way, sealed as they were."""
        found = set()
        for line in self._lines:
            said = line.up if upward else line.down
            spans = packets_in(said, is_returning(line.down))
            found |= {bytes(said[span.body : span.end]) for span in spans}
        return found


class Overheard:
    """One connection, and what was said on it."""

    def __init__(self) -> None:
        self.up, self.down = bytearray(), bytearray()
        self.scope = trio.CancelScope()
        self.hushed = False

    async def carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, said: bytearray
    ) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in source:
                if self.hushed:
                    continue
                said += data
                await sink.send_all(data)
        self.scope.cancel()


async def test_no_nonce_seals_two_texts_but_the_first(
    jumphost: Jumphost, traveller: Traveller, destination: Destination, nursery: trio.Nursery
) -> None:
    """One key seals both legs. Through cuts on either, both carry the same packets."""
    near = Tap(jumphost.port)
    far = Tap(destination.port)
    far_port = await nursery.start(far.serve)
    near_port = await nursery.start(near.serve)
    await ask(jumphost.path, traveller.request_jump(jumphost, far_port))
    traveller.set_out(near_port)
    destination.answer()
    await traveller.response()
    for number in range(24):
        text = b"%d;" % number
        cutters = ((near,), (far,), (near, far), ())[number % 4]
        traveller.type(text)
        destination.print(text)
        for cutter in cutters:
            cutter.cut()
        traveller.link.ping()
        await traveller.until_shown(text)
        await destination.until_typed(text)
    assert near.cuts
    assert far.cuts
    for upward, differ in ((True, 1), (False, 0)):
        legs = near.packets(upward=upward), far.packets(upward=upward)
        came, left = legs if upward else reversed(legs)
        assert len(came) > 24
        assert len(left - came) <= differ, "the jumphost has sealed something of its own"


async def test_who_is_away_gets_all_of_it(
    jumphost: Jumphost, traveller: Traveller, destination: Destination, nursery: trio.Nursery
) -> None:
    """A C++ client looks at a catch-up only when another packet follows: the last one does."""
    tap = Tap(jumphost.port)
    port = await nursery.start(tap.serve)
    await ask(jumphost.path, traveller.request_jump(jumphost, destination.port))
    traveller.set_out(port)
    destination.answer()
    await traveller.response()
    tap.cut()
    for number in range(100):
        destination.print(b"%d;" % number)
    await traveller.until_shown(b"".join(b"%d;" % number for number in range(100)))


async def test_a_destination_that_does_not_answer_is_tried_on_another_connection(
    jumphost: Jumphost,
    traveller: Traveller,
    destination: Destination,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The jumphost asks nothing itself; but it sees what the client has asked."""
    monkeypatch.setattr(jump_module, "SUSPICIOUS_S", 0.1)
    tap = Tap(destination.port)
    await traveller.jump(jumphost, await nursery.start(tap.serve))
    destination.answer()
    await traveller.response()
    tap.hush()
    traveller.type(b"into the void")
    traveller.link.ping()
    await destination.until_typed(b"into the void")
    destination.print(b"back")
    await traveller.until_shown(b"back")
    assert tap.cuts == 0


async def test_a_destination_that_stays_silent_costs_its_connection(
    jumphost: Jumphost,
    traveller: Traveller,
    destination: Destination,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jump_module, "SUSPICIOUS_S", 0.05)
    monkeypatch.setattr(jump_module, "DEAD_S", 0.1)
    tap = Tap(destination.port)
    await traveller.jump(jumphost, await nursery.start(tap.serve))
    destination.answer()
    await traveller.response()
    assert destination.link.attached
    destination.forgotten = True  # nobody else is taken in
    tap.hush()
    traveller.link.ping()
    await until(lambda: not destination.link.attached)


# What it answers itself


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(jump_module, "ET_PATIENCE_S", 0.3)
    monkeypatch.setattr(jump_module, "PATIENCE_S", 0.3)


async def test_a_destination_where_nobody_listens_is_told(
    jumphost: Jumphost, traveller: Traveller, free_port: int
) -> None:
    await traveller.jump(jumphost, free_port)
    said = f"the jumphost cannot reach 127.0.0.1 port {free_port}: connection refused"
    assert await traveller.response() == InitialResponse(said.encode())
    await jumphost.until_sessions(0)


@pytest.mark.parametrize("name", ["nowhere.invalid", "a..b", "a" * 64, "-", "%", "[::1]"])
async def test_a_destination_that_does_not_exist_is_told(
    jumphost: Jumphost, traveller: Traveller, name: str
) -> None:
    told = invitation(await ask(jumphost.path, traveller.request_jump(jumphost, 2022, name)))
    traveller.set_out(told["port"])
    assert f"cannot reach {name} port 2022: ".encode() in (await traveller.response()).error
    await jumphost.until_sessions(0)


async def test_a_destination_that_knows_no_such_session_is_told(
    jumphost: Jumphost, traveller: Traveller, nursery: trio.Nursery
) -> None:
    async def deny(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            refusal = ConnectResponse(ConnectStatus.INVALID_KEY, b"Client is not registered")
            await stream.send_all(connect_response_frame(refusal))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, deny, [listener])
    port = listener.socket.getsockname()[1]
    await traveller.jump(jumphost, port)
    said = f"127.0.0.1 port {port} does not know the session; is another server there?"
    assert await traveller.response() == InitialResponse(said.encode())
    await jumphost.until_sessions(0)


@pytest.mark.usefixtures("brief")
async def test_a_destination_that_says_nothing_is_told_in_time(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    """A real et aborts if its answer takes more than 3 s."""
    await traveller.jump(jumphost, destination.port)
    said = f"the jumphost cannot reach 127.0.0.1 port {destination.port}: no reply within 0.3 s"
    assert await traveller.response() == InitialResponse(said.encode())
    await jumphost.until_sessions(0)


async def test_what_the_destination_refuses_is_told_in_its_own_words(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    """It keeps such a session and its connection, if it is a real etserver."""
    await traveller.jump(jumphost, destination.port)
    refusal = InitialResponse(b"Tunnel already exists: \xff")
    destination.answer(refusal)
    assert await traveller.response() == refusal
    await jumphost.until_sessions(0)


@pytest.mark.usefixtures("brief")
async def test_a_jump_to_itself_comes_to_an_end(jumphost: Jumphost, traveller: Traveller) -> None:
    await traveller.jump(jumphost, jumphost.port)
    assert b"cannot reach" in (await traveller.response()).error
    await jumphost.until_sessions(0)


async def test_whom_nobody_comes_for_is_dropped(
    jumphost: Jumphost, traveller: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jump_module, "START_DEADLINE_S", 0.1)
    await ask(jumphost.path, traveller.request_jump(jumphost, 2022))
    await jumphost.until_sessions(0)


async def test_jumps_are_limited_and_sessions_of_its_own_remain(
    jumphost: Jumphost, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "MAX_JUMPS", 2)
    for _ in range(2):
        invitation(await ask(jumphost.path, Traveller(nursery).request_jump(jumphost, 2022)))
    told = refusal(await ask(jumphost.path, Traveller(nursery).request_jump(jumphost, 2022)))
    assert told["what"] == "2 sessions go through this host already, which is the limit"
    caller = Caller(nursery)
    ports = jumphost.port, jumphost.port
    caller.begin(invitation(await ask(jumphost.path, caller.request(ports=ports)))["port"])
    await caller.echoes(b"its own")


# What ends it


async def test_the_last_packet_reaches_the_client_and_its_thanks_the_destination(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    features = ("acks", "over")
    said = InitialPayload(jumphost=True, features=features)
    await traveller.jump(jumphost, destination.port, encode_initial_payload(said))
    destination.answer(InitialResponse(b"", features))
    destination.link.agree_acks()
    destination.print(b"bye")
    over = SessionOver(status=7)
    destination.link.send(PacketType.SESSION_OVER, encode_session_over(over))
    assert await traveller.until_over() == over
    with trio.fail_after(10):
        await destination.link.wait_delivered()
    destination.forget()
    await jumphost.until_sessions(0)
    assert traveller.shown == b"bye"


async def test_who_leaves_for_good_leaves_nothing_at_the_jumphost(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    features = ("acks", "over")
    said = InitialPayload(jumphost=True, features=features)
    await traveller.jump(jumphost, destination.port, encode_initial_payload(said))
    destination.answer(InitialResponse(b"", features))
    await traveller.response()
    traveller.leave()
    over = PacketType.SESSION_OVER
    await until(lambda: [packet.type for packet in destination.inbox.packets][-1:] == [over])
    destination.forget()
    await jumphost.until_sessions(0)


async def test_a_session_that_an_et_server_ends_is_over_for_the_client(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    """It says so by not knowing the session any more."""
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    await traveller.response()
    destination.print(b"last words")
    await traveller.until_shown(b"last words")
    traveller.cut()
    destination.forget()
    await jumphost.until_sessions(0)
    await until(lambda: traveller.lost)
    assert "does not know the session" in str(traveller.lost)


async def test_a_denial_that_nobody_sealed_ends_no_session_of_trioets(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    features = ("acks", "over")
    said = InitialPayload(jumphost=True, features=features)
    await traveller.jump(jumphost, destination.port, encode_initial_payload(said))
    destination.answer(InitialResponse(b"", features))
    await traveller.response()
    destination.forget()
    await until(lambda: destination.denied > 4)
    destination.forgotten = False
    destination.print(b"still here")
    await traveller.until_shown(b"still here")


# Hostile ends


async def is_unharmed(jumphost: Jumphost, nursery: trio.Nursery) -> None:
    """The keeper and another session in it."""
    caller = Caller(nursery)
    ports = jumphost.port, jumphost.port
    caller.begin(invitation(await ask(jumphost.path, caller.request(ports=ports)))["port"])
    await caller.echoes(b"unharmed")
    caller.leave()


NONSENSE = [
    Packet(PacketType.TERMINAL_BUFFER, b"no message"),
    Packet(PacketType.KEEP_ALIVE, b"four"),
    Packet(PacketType.CHANNEL, b"\x1f" + bytes(8)),
    Packet(PacketType.SESSION_OVER, b"\x08\x00"),
    Packet(PacketType.INITIAL_PAYLOAD, b"\x08\x00"),
    Packet(PacketType.INITIAL_RESPONSE, b""),
    Packet(99, b""),
    Packet(3, b""),
]


@pytest.mark.parametrize("packet", NONSENSE, ids=repr)
async def test_nonsense_from_the_destination_costs_its_connection(
    jumphost: Jumphost,
    traveller: Traveller,
    destination: Destination,
    nursery: trio.Nursery,
    packet: Packet,
) -> None:
    """No real et hears of it, which would abort. The destination has the key, and may say it."""
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    destination.print(b"sense")
    await traveller.until_shown(b"sense")
    destination.link.send(packet.type, packet.payload)
    await until(lambda: destination.connections > 3)
    await is_unharmed(jumphost, nursery)
    heard = [packet.type for packet in traveller.inbox.packets]
    assert heard == [PacketType.INITIAL_RESPONSE, PacketType.TERMINAL_BUFFER]


@pytest.mark.parametrize("packet", NONSENSE, ids=repr)
async def test_nonsense_from_the_client_costs_its_connection(
    jumphost: Jumphost,
    traveller: Traveller,
    destination: Destination,
    nursery: trio.Nursery,
    packet: Packet,
) -> None:
    """No real etserver hears of it, which would abort with all its sessions."""
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    await traveller.response()
    traveller.link.send(packet.type, packet.payload)
    traveller.type(b"after")
    await is_unharmed(jumphost, nursery)
    heard = {packet.type for packet in destination.inbox.packets}
    assert heard == {PacketType.INITIAL_PAYLOAD}


@pytest.mark.usefixtures("brief")
async def test_a_destination_that_speaks_out_of_turn_is_given_up_in_time(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    await traveller.jump(jumphost, destination.port)
    destination.print(b"before any answer")
    assert b"cannot reach" in (await traveller.response()).error
    await jumphost.until_sessions(0)


async def test_a_client_that_speaks_out_of_turn_reaches_nobody(
    jumphost: Jumphost, traveller: Traveller, destination: Destination, nursery: trio.Nursery
) -> None:
    told = invitation(await ask(jumphost.path, traveller.request_jump(jumphost, destination.port)))
    traveller.type(b"before all else")
    traveller.set_out(told["port"])
    await is_unharmed(jumphost, nursery)
    assert destination.connections == 0


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9.2\r\n", bytes(100), b"\xff" * 100])
async def test_what_is_no_server_of_ours_is_given_up_in_time(
    jumphost: Jumphost, traveller: Traveller, nursery: trio.Nursery, noise: bytes
) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(noise)
                await stream.receive_some()
                await stream.receive_some()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, talk, [listener])
    await traveller.jump(jumphost, listener.socket.getsockname()[1])
    assert b"cannot reach" in (await traveller.response()).error
    await jumphost.until_sessions(0)
    await is_unharmed(jumphost, nursery)


async def test_a_flood_waits_for_who_does_not_read(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    """The jumphost reads no more from the destination than the client takes."""
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    await traveller.response()
    traveller.inbox.busy = trio.Event()
    flood = bytes(64 * 1024)
    with trio.move_on_after(10) as patience:
        while destination.link.has_room():
            destination.print(flood)
            await trio.lowlevel.checkpoint()
    assert not patience.cancelled_caught, "nobody stops the destination"
    (kept,) = (link.kept_bytes for link in jumphost.keeper._links if link.role is Role.SERVER)
    assert kept < 8 * 1024 * 1024
    traveller.inbox.busy.set()
    traveller.inbox.busy = None
    destination.print(b"the end")
    await traveller.until_shown(b"the end")


# Cancellation


async def test_a_keeper_that_ends_closes_both_legs(
    jumphost: Jumphost, traveller: Traveller, destination: Destination
) -> None:
    before = descriptors()
    await traveller.jump(jumphost, destination.port)
    destination.answer()
    await traveller.response()
    jumphost.scope.cancel()
    await until(lambda: not destination.link.attached)
    await until(lambda: not traveller.link.attached)
    await until(lambda: descriptors() <= before)
