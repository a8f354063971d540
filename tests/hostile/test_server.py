"""One bad byte, one socket: what strangers, and users who are none, send to a server.

Router, keeper and session are real and so are their sockets; the clock is moved by hand.
"""

from __future__ import annotations

import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.bootstrap.credentials import Credentials
from trioet.errors import TrioetError
from trioet.link.attachment import PROOF_DEADLINE_S
from trioet.link.dial import dial
from trioet.link.door import DEADLINE_S
from trioet.link.line import LineBroken
from trioet.link.resumable import HANDSHAKE_DEADLINE_S, ResumableLink, Role
from trioet.server.keeper import Keeper
from trioet.server.local import bind_local
from trioet.server.request import INVITED, OpenRequest
from trioet.server.router import GRACE_S, Router
from trioet.wire.framing import HANDSHAKE_LENGTH, PACKET_LENGTH, handshake_frame, packet_frame
from trioet.wire.handshake import (
    Handshake,
    catchup_entry,
    catchup_head,
    connect_request_frame,
    sequence_header_frame,
)
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    Exec,
    InitialPayload,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_initial_response,
    decode_terminal_buffer,
    encode_count,
    encode_initial_payload,
    encode_initial_response,
    encode_session_over,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType, join_body
from trioet.wire.sealing import Direction, SealedBox
from waiting import until

ID: Final = "1234567890123456"
KEY: Final = "12345678901234567890123456789012"
BOX: Final = SealedBox(KEY.encode(), Direction.CLIENT_TO_SERVER)
OTHER_BOX: Final = SealedBox(bytes(32), Direction.CLIENT_TO_SERVER)
HELLO: Final = connect_request_frame(ConnectRequest(ID.encode()))
HUGE: Final = 128 * 1024 * 1024
CLAIM_COSTS: Final = 1024 * 1024
"""Bytes that a claim may make us hold: less than a hundredth of what is claimed."""

FEATURES: Final = ("acks", "over", "exec")
CAT: Final = encode_initial_payload(InitialPayload(features=FEATURES, exec=Exec(b"cat", pty=False)))


class Guest:
    """The session's own client: a link, what its program has printed, its first answer."""

    def __init__(self) -> None:
        self.link = ResumableLink(KEY.encode(), Role.CLIENT, self)
        self.output = b""
        self.response: InitialResponse | None = None

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type == PacketType.INITIAL_RESPONSE:
            self.response = decode_initial_response(packet.payload)
            self.link.agree_acks()
        else:
            assert packet.type == PacketType.TERMINAL_BUFFER
            self.output += decode_terminal_buffer(packet.payload)

    async def ready(self) -> None:
        self.link.dealt_with()

    async def stay(self, port: int) -> None:
        """Connect, and be connected until the line is gone."""
        line = await dial("127.0.0.1", port)
        with pytest.raises((LineBroken, TrioetError)):
            await self.link.run_client_line(line, ID.encode())


class Site:
    """A server with one session on it, which runs ``cat``."""

    def __init__(self, nursery: trio.Nursery, place: Path) -> None:
        self.nursery = nursery
        self.guest = Guest()
        self.keeper = Keeper()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.router = Router(port=self.port, replay_memory=1 << 28)
        self._router_socket = str(place / "router.sock")
        self._requests = str(place / "requests.sock")
        nursery.start_soon(self.router.door.serve, listener)
        nursery.start_soon(self.router.serve_keepers, bind_local(self._router_socket, 0o600))
        requests = socket.socket(socket.AF_UNIX)
        requests.bind(self._requests)
        requests.listen()
        nursery.start_soon(self.keeper.run, requests)

    async def open_session(self) -> None:
        """Have the keeper make the session; nobody is connected yet."""
        request = OpenRequest(
            Credentials(ID, KEY),
            "xterm",
            {b"PATH": b"/usr/bin:/bin"},
            router_socket=self._router_socket,
        )
        stream = await trio.open_unix_socket(self._requests)
        async with stream:
            await stream.send_all(request.encode())
            await stream.send_eof()
            answer = b"".join([bytes(part) async for part in stream])
        assert answer.startswith(INVITED)

    async def begin(self) -> None:
        """The guest connects, has its program started, and types something."""
        self.nursery.start_soon(self.guest.stay, self.port)
        self.guest.link.send(PacketType.INITIAL_PAYLOAD, CAT)
        await self.check_echo(b"first words")
        await self.settle()

    async def settle(self) -> None:
        """The server knows that the guest has everything but the answer to a KEEP_ALIVE."""
        received = self.guest.link.received
        self.guest.link.send_keepalive()
        await until(lambda: self.guest.link.received > received)
        await wait_all_tasks_blocked()

    async def check_echo(self, text: bytes) -> None:
        """What is typed reaches the program, and what it prints comes back, once."""
        before = self.guest.output
        self.guest.link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))
        await until(lambda: len(self.guest.output) >= len(before + text))
        assert self.guest.output == before + text

    async def leave(self) -> None:
        """The guest's line is lost; the session waits for another."""
        self.guest.link.drop_proven_line()
        await until(lambda: not self.guest.link.attached)
        await wait_all_tasks_blocked()

    async def tell(self, data: bytes) -> list[bytes]:
        """Say this as a stranger; return what is answered before the connection is closed."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            return await hear(stream, data)


async def hear(stream: trio.SocketStream, data: bytes) -> list[bytes]:
    """Send; return all that comes until the other side closes."""
    answer: list[bytes] = []
    with trio.fail_after(5):
        try:
            await stream.send_all(data)
            answer += [bytes(part) async for part in stream]
        except trio.BrokenResourceError:
            pass  # a reset: closed with something of ours unread
    return answer


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass: pytest-trio takes it if the test asks for it."""
    return MockClock(rate=1)


@pytest.fixture
async def site(runtime_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        made = Site(nursery, runtime_dir)
        await made.open_session()
        caplog.set_level(logging.INFO)
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
async def session(site: Site) -> Site:
    await site.begin()
    return site


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of refusals, and of faults of ours."""
    return [
        message
        for message in caplog.messages
        if message.startswith("refused ") or "please report" in message
    ]


def check_told_once(site: Site, caplog: pytest.LogCaptureFixture, why: str) -> None:
    assert len(refusals(caplog)) == 1, refusals(caplog)
    assert refusals(caplog)[0].startswith("refused 127.0.0.1: ")
    assert why in refusals(caplog)[0]
    assert site.router.door.refusals.count + site.keeper._refusals.count == 1


@contextmanager
def holding_little(limit: int = CLAIM_COSTS) -> Iterator[None]:
    """Within it, no more than ``limit`` bytes are taken at any time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < limit


AT_THE_DOOR: Final[dict[str, tuple[bytes, str]]] = {
    "a negative length": (HANDSHAKE_LENGTH.pack(-1), "-1 bytes announced"),
    "the most negative length": (HANDSHAKE_LENGTH.pack(-(2**63)), "bytes announced"),
    "a length over the limit": (HANDSHAKE_LENGTH.pack(4097), "4097 bytes announced"),
    "128 MiB": (HANDSHAKE_LENGTH.pack(HUGE) + bytes(65536), f"{HUGE} bytes announced"),
    "the greatest length": (HANDSHAKE_LENGTH.pack(2**63 - 1), "bytes announced"),
    "no protobuf": (handshake_frame(b"\xff" * 20), "not a ConnectRequest"),
    "a cut protobuf": (handshake_frame(b"\x0a\x10short"), "not a ConnectRequest"),
    "an empty message": (handshake_frame(b""), "protocol version 0"),
    "an id and no version": (handshake_frame(b"\x0a\x10" + ID.encode()), "protocol version 0"),
    "another version": (
        connect_request_frame(ConnectRequest(ID.encode(), 5)),
        "protocol version 5",
    ),
    "a SequenceHeader": (sequence_header_frame(7), "protocol version 0"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bytes announced"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "bytes announced"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(200), "bytes announced"),
}


@pytest.mark.parametrize("name", AT_THE_DOOR)
async def test_nonsense_before_an_id_costs_its_socket(
    session: Site, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    said, why = AT_THE_DOOR[name]
    lines = session.guest.link.lines
    with holding_little():
        await session.tell(said)
    check_told_once(session, caplog, why)
    assert session.guest.link.lines == lines
    await session.check_echo(b"still here")


async def test_an_id_that_nobody_has_costs_its_socket(
    session: Site, caplog: pytest.LogCaptureFixture, clock: MockClock
) -> None:
    clock.jump(GRACE_S)
    (answer,) = await session.tell(connect_request_frame(ConnectRequest(b"nobody has this1")))
    assert Handshake.client().feed(answer) == [
        ConnectResponse(ConnectStatus.INVALID_KEY, b"Client is not registered")
    ]
    check_told_once(session, caplog, "not registered")
    await session.check_echo(b"still here")


@pytest.mark.parametrize("much", [0, 1, len(HELLO) - 1])
async def test_who_leaves_within_the_handshake_is_told_of(
    session: Site, caplog: pytest.LogCaptureFixture, much: int
) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", session.port)
    await stream.send_all(HELLO[:much])
    await stream.aclose()
    await until(lambda: refusals(caplog))
    check_told_once(session, caplog, "closed before a ConnectRequest was whole")
    await session.check_echo(b"still here")


async def dribble(stream: trio.SocketStream, data: bytes, every_s: float, clock: MockClock) -> None:
    """Say ``data`` byte by byte, until nobody listens any more."""
    for number in range(len(data)):
        try:
            await stream.send_all(data[number : number + 1])
        except trio.BrokenResourceError:
            return
        await wait_all_tasks_blocked()
        clock.jump(every_s)
        await wait_all_tasks_blocked()


async def test_a_dribbled_request_has_a_deadline_and_no_more(
    session: Site, caplog: pytest.LogCaptureFixture, clock: MockClock
) -> None:
    begun = trio.current_time()
    async with await trio.open_tcp_stream("127.0.0.1", session.port) as stream:
        await dribble(stream, HELLO[: round(DEADLINE_S) + 1], 1.0, clock)
        with trio.fail_after(2):
            assert await hear(stream, b"") == []
    assert trio.current_time() - begun < DEADLINE_S + 4
    check_told_once(session, caplog, "no ConnectRequest within 10 s")
    await session.check_echo(b"still here")


# With the id of a live session

NOTHING: Final = catchup_head([])
FORGED: Final = join_body(PacketType.TERMINAL_BUFFER, OTHER_BOX.seal(1, b"rm -rf"))


def header(count: int) -> bytes:
    return HELLO + sequence_header_frame(count)


def entry(length: int, body: bytes = b"") -> bytes:
    """The head of a catch-up with one entry of a length, and what there is of it."""
    data = b"\x0a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + body
    return HANDSHAKE_LENGTH.pack(1000) + data


def framed(length: int, rest: bytes = b"") -> bytes:
    """A packet's length, and what there is of the packet."""
    return PACKET_LENGTH.pack(length & 0xFFFFFFFF) + rest


ON_TRIAL: Final[dict[str, tuple[Callable[[int], bytes], str]]] = {
    # The count that the session's client would say, what is said, and why it is refused.
    "a header of negative length": (lambda n: HELLO + HANDSHAKE_LENGTH.pack(-1), "-1 bytes"),
    "a header of 128 MiB": (lambda n: HELLO + HANDSHAKE_LENGTH.pack(HUGE), f"{HUGE} bytes"),
    "a header that is none": (
        lambda n: HELLO + handshake_frame(b"\xff" * 9),
        "not a SequenceHeader",
    ),
    "a request in its place": (lambda n: HELLO + HELLO, "has proven"),
    "a negative count": (
        lambda n: HELLO + handshake_frame(b"\x08" + b"\xff" * 9 + b"\x01"),
        "negative",
    ),
    "a count ahead by one": (lambda n: header(n + 1), "claims"),
    "the greatest count": (lambda n: header(2**31 - 1), "claims"),
    "a count behind what was proven": (lambda n: header(n - 2), "has proven"),
    "a count of nothing": (lambda n: header(0), "has proven"),
    "a catch-up of negative length": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(-1),
        "-1 bytes",
    ),
    "a catch-up beyond 128 MiB": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(HUGE + 1),
        f"{HUGE + 1} bytes",
    ),
    "a catch-up that is none": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(50) + b"\x12" + bytes(49),
        "not an entry",
    ),
    "an entry of no bytes": (lambda n: header(n) + entry(0), "entry of 0 bytes"),
    "an entry of one byte": (lambda n: header(n) + entry(1, b"\1"), "entry of 1 bytes"),
    "an entry too short to be sealed": (
        lambda n: header(n) + entry(17, b"\1\1" + bytes(15)),
        "entry of 17 bytes",
    ),
    "an entry over its catch-up's end": (lambda n: header(n) + entry(2000), "runs over the end"),
    "an entry of huge length": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(HUGE) + b"\x0a\xff\xff\xff\x3f",
        "catch-up entry of",
    ),
    "an entry whose length does not end": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(HUGE) + b"\x0a" + b"\xff" * 9,
        "does not end",
    ),
    "a forged entry": (
        lambda n: header(n) + catchup_head([len(FORGED)]) + catchup_entry(FORGED),
        "does not open",
    ),
    "an entry in clear": (
        lambda n: header(n) + catchup_head([20]) + catchup_entry(b"\0\1" + bytes(18)),
        "flag 0",
    ),
    "a second header": (
        lambda n: header(n) + sequence_header_frame(n) + NOTHING,
        "not an entry",
    ),
    "a second catch-up": (lambda n: header(n) + NOTHING + NOTHING, "0 bytes announced"),
    "a packet of no bytes": (lambda n: header(n) + NOTHING + framed(0), "0 bytes announced"),
    "a packet of one byte": (lambda n: header(n) + NOTHING + framed(1, b"\1"), "1 bytes announced"),
    "a packet without a seal": (
        lambda n: header(n) + NOTHING + framed(2, b"\1\1"),
        "2 bytes announced",
    ),
    "a packet too short to be sealed": (
        lambda n: header(n) + NOTHING + framed(17, b"\1\1" + bytes(15)),
        "17 bytes announced",
    ),
    "a packet of negative length": (lambda n: header(n) + NOTHING + framed(-1), "bytes announced"),
    "a packet of the most negative length": (
        lambda n: header(n) + NOTHING + framed(-(2**31)),
        "bytes announced",
    ),
    "a packet of 2 GiB": (lambda n: header(n) + NOTHING + framed(2**31 - 1), "bytes announced"),
    "a packet of 128 MiB": (lambda n: header(n) + NOTHING + framed(HUGE), f"{HUGE} bytes"),
    "a packet in clear": (
        lambda n: header(n) + NOTHING + packet_frame(b"\0\1" + bytes(18)),
        "flag 0",
    ),
    "a packet with another flag": (
        lambda n: header(n) + NOTHING + packet_frame(b"\2\1" + bytes(18)),
        "flag 2",
    ),
    "a bad tag": (lambda n: header(n) + NOTHING + packet_frame(FORGED), "does not open"),
    "a packet of the session, again": (
        lambda n: header(n) + NOTHING + packet_frame(join_body(253, BOX.seal(1, CAT))),
        "does not open",
    ),
    "its entry, again": (
        lambda n: (
            header(n)
            + catchup_head([len(CAT) + 18])
            + catchup_entry(join_body(253, BOX.seal(1, CAT)))
        ),
        "does not open",
    ),
    "another id behind the first": (
        lambda n: HELLO + connect_request_frame(ConnectRequest(b"6543210987654321")),
        "has proven",
    ),
}


@pytest.mark.parametrize("name", ON_TRIAL)
async def test_nonsense_behind_the_id_of_a_session_costs_its_socket(
    session: Site, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    say, why = ON_TRIAL[name]
    link = session.guest.link
    lines, sent, received, proven = link.lines, link.sent, link.received, link.lines_proven
    with holding_little():
        await session.tell(say(link.received))
    await until(lambda: refusals(caplog))
    check_told_once(session, caplog, why)
    assert (link.lines, link.sent, link.lines_proven) == (lines, sent, proven)
    assert link.received <= received + 1, "who has caught up is pinged, on every line"
    await session.check_echo(b"still here")
    assert len(refusals(caplog)) == 1


async def test_the_same_while_the_client_is_away(
    session: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that is said under an id moves a count, or keeps the client out."""
    await session.leave()
    count = session.guest.link.received
    for say, _ in list(ON_TRIAL.values())[:18]:
        await session.tell(say(count))
    assert len(refusals(caplog)) == 18
    session.nursery.start_soon(session.guest.stay, session.port)
    await session.check_echo(b"here again")


SILENCES: Final[dict[str, tuple[Callable[[int], bytes], float]]] = {
    "after the request": (lambda n: HELLO, HANDSHAKE_DEADLINE_S),
    "in the header": (lambda n: header(n)[:-1], HANDSHAKE_DEADLINE_S),
    "after the header": (header, PROOF_DEADLINE_S),
    "in a catch-up of 128 MiB": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(HUGE),
        PROOF_DEADLINE_S,
    ),
    "in an entry of 4 MiB": (
        lambda n: header(n) + HANDSHAKE_LENGTH.pack(HUGE) + b"\x0a\x80\x80\x80\x02" + bytes(1000),
        PROOF_DEADLINE_S,
    ),
    "after the catch-up": (lambda n: header(n) + NOTHING, PROOF_DEADLINE_S),
    "in a packet of 4 MiB": (
        lambda n: header(n) + NOTHING + framed(4 << 20, bytes(1000)),
        PROOF_DEADLINE_S,
    ),
}


@pytest.mark.parametrize("name", SILENCES)
async def test_who_falls_silent_is_dropped_in_time(
    session: Site, caplog: pytest.LogCaptureFixture, name: str, clock: MockClock
) -> None:
    say, deadline = SILENCES[name]
    lines = session.guest.link.lines
    with holding_little():
        async with await trio.open_tcp_stream("127.0.0.1", session.port) as stream:
            await stream.send_all(say(session.guest.link.received))
            assert await stream.receive_some()
            await wait_all_tasks_blocked()
            clock.jump(deadline)
            await hear(stream, b"")
    await until(lambda: refusals(caplog))
    check_told_once(session, caplog, "did not prove itself in time")
    assert session.guest.link.lines == lines
    await session.check_echo(b"still here")


@pytest.mark.parametrize("skipped", [0, len(HELLO)])
async def test_dribbling_behind_the_id_buys_no_time(
    session: Site, caplog: pytest.LogCaptureFixture, skipped: int, clock: MockClock
) -> None:
    said = header(session.guest.link.received) + NOTHING + framed(4 << 20, bytes(100))
    begun = trio.current_time()
    async with await trio.open_tcp_stream("127.0.0.1", session.port) as stream:
        await stream.send_all(said[:skipped])
        await dribble(stream, said[skipped:], 2.0, clock)
    assert trio.current_time() - begun < DEADLINE_S + HANDSHAKE_DEADLINE_S + PROOF_DEADLINE_S + 10
    await until(lambda: refusals(caplog))
    assert len(refusals(caplog)) == 1
    await session.check_echo(b"still here")


async def test_half_a_packet_for_each_line_on_trial_is_all_that_is_held(
    session: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """4 MiB are claimed again and again, and sent to the last byte but one."""
    said = header(session.guest.link.received) + NOTHING + framed(4 << 20, bytes((4 << 20) - 1))
    streams = []
    with holding_little(24 << 20):
        for _ in range(8):
            streams.append(await trio.open_tcp_stream("127.0.0.1", session.port))
            with trio.move_on_after(5):
                await streams[-1].send_all(said)
            await wait_all_tasks_blocked()
    await session.check_echo(b"still here")
    for stream in streams:
        await stream.aclose()


# With the key: a user of the server who means no good

TYPED: Final = encode_terminal_buffer(b"typed by the user")
FAREWELL: Final = encode_session_over(SessionOver(reason=LEFT))

BY_A_USER: Final[dict[str, tuple[int, bytes, str]]] = {
    "an unknown type": (99, b"", "packet type 99"),
    "a type of the server": (PacketType.INITIAL_RESPONSE, b"", "packet type 252"),
    "a second INITIAL_PAYLOAD": (PacketType.INITIAL_PAYLOAD, CAT, "packet type 253"),
    "a type that no peer sends": (255, b"", "packet type 255"),
    "typing that is no protobuf": (PacketType.TERMINAL_BUFFER, b"\xff\xff", "not a TerminalBuffer"),
    "a size that is no protobuf": (PacketType.TERMINAL_INFO, b"\xff\xff", "not a TerminalInfo"),
    "a forward that is no protobuf": (
        PacketType.PORT_FORWARD_DESTINATION_REQUEST,
        b"\xff\xff",
        "not a PortForwardDestinationRequest",
    ),
    "a KEEP_ALIVE of seven bytes": (PacketType.KEEP_ALIVE, bytes(7), "7 bytes"),
    "a KEEP_ALIVE that acknowledges what was not sent": (
        PacketType.KEEP_ALIVE,
        encode_count(10**6),
        "acknowledged 1000000 packets",
    ),
    "a KEEP_ALIVE beyond all counts": (
        PacketType.KEEP_ALIVE,
        encode_count(2**64 - 1),
        "acknowledged",
    ),
    # The type is not sealed: what follows can be made on the way, of what the user typed.
    "typing made a KEEP_ALIVE": (PacketType.KEEP_ALIVE, TYPED, "KEEP_ALIVE"),
    "typing made a size": (PacketType.TERMINAL_INFO, TYPED, ""),
    "typing made forwarded data": (PacketType.PORT_FORWARD_DATA, TYPED, ""),
    "typing made the answer to a forward": (
        PacketType.PORT_FORWARD_DESTINATION_RESPONSE,
        TYPED,
        "",
    ),
    "typing made a farewell": (PacketType.SESSION_OVER, TYPED, ""),
    "typing made an end of input": (PacketType.STDIN_EOF, TYPED, ""),
    "a size made typing": (
        PacketType.TERMINAL_BUFFER,
        encode_terminal_info(WindowSize(24, 80)),
        "",
    ),
    "an end of input made typing": (PacketType.TERMINAL_BUFFER, END_OF_INPUT, ""),
    "an end of input made a farewell": (PacketType.SESSION_OVER, END_OF_INPUT, ""),
    "an end of input made a KEEP_ALIVE": (PacketType.KEEP_ALIVE, END_OF_INPUT, "KEEP_ALIVE"),
    "a farewell made typing": (PacketType.TERMINAL_BUFFER, FAREWELL, ""),
    "a farewell made an end of input": (PacketType.STDIN_EOF, FAREWELL, ""),
    "an acknowledgement made typing": (PacketType.TERMINAL_BUFFER, encode_count(9), ""),
    "an acknowledgement made a farewell": (PacketType.SESSION_OVER, encode_count(9), ""),
    "empty typing": (PacketType.TERMINAL_BUFFER, b"", ""),
    "an empty farewell": (PacketType.SESSION_OVER, b"", ""),
    "an empty end of input": (PacketType.STDIN_EOF, b"", ""),
}


@pytest.mark.parametrize("name", BY_A_USER)
async def test_a_packet_that_makes_no_sense_costs_its_socket_and_does_not_count(
    session: Site, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    kind, payload, why = BY_A_USER[name]
    await session.leave()
    link = session.guest.link
    packet = packet_frame(join_body(kind, BOX.seal(link.sent + 1, payload)))
    await session.tell(header(link.received) + NOTHING + packet)
    await until(lambda: refusals(caplog))
    check_told_once(session, caplog, why)
    session.nursery.start_soon(session.guest.stay, session.port)
    await session.check_echo(b"in the same place")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (PacketType.TERMINAL_BUFFER, TYPED),
        (PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(24, 80))),
        (PacketType.SESSION_OVER, b""),
        (PacketType.INITIAL_RESPONSE, encode_initial_response(InitialResponse())),
        (PacketType.INITIAL_PAYLOAD, b"\xff\xff"),
        (99, b""),
    ],
)
async def test_a_wrong_first_packet_costs_its_socket_and_the_session_may_begin(
    site: Site, caplog: pytest.LogCaptureFixture, kind: int, payload: bytes
) -> None:
    await site.tell(HELLO + packet_frame(join_body(kind, BOX.seal(1, payload))))
    await until(lambda: refusals(caplog))
    check_told_once(site, caplog, "")
    await site.guest.stay(site.port)  # to learn that the server was asked before
    await site.begin()


@pytest.mark.parametrize(
    "payload",
    [
        InitialPayload(jumphost=True, features=FEATURES),
    ],
)
async def test_what_is_not_offered_is_refused_in_words(
    site: Site, caplog: pytest.LogCaptureFixture, payload: InitialPayload
) -> None:
    site.nursery.start_soon(site.guest.stay, site.port)
    site.guest.link.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
    await until(lambda: site.guest.response)
    assert site.guest.response is not None
    assert b"this trioet server does not" in site.guest.response.error
    assert refusals(caplog) == []
