"""One bad byte, one socket: what a server that is none says to a client.

The client is whole but for its terminal, which is two pipes; its connections are real.
"""

from __future__ import annotations

import logging
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from trioet.client.app import Client
from trioet.client.console import open_console
from trioet.client.wish import Wish
from trioet.errors import TrioetError
from trioet.link.accepting import accept
from trioet.link.attachment import PROOF_DEADLINE_S
from trioet.link.dial import dial
from trioet.link.line import LineBroken, SocketLine
from trioet.link.resumable import ResumableLink, Role
from trioet.wire.framing import HANDSHAKE_LENGTH, PACKET_LENGTH, handshake_frame, packet_frame
from trioet.wire.handshake import (
    catchup_entry,
    catchup_head,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.messages import (
    ConnectResponse,
    ConnectStatus,
    Exec,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_terminal_buffer,
    encode_count,
    encode_initial_response,
    encode_session_over,
    encode_stderr,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType, join_body
from trioet.wire.sealing import Direction, SealedBox
from waiting import until

ID: Final = b"1234567890123456"
KEY: Final = b"12345678901234567890123456789012"
BOX: Final = SealedBox(KEY, Direction.SERVER_TO_CLIENT)
HUGE: Final = 128 * 1024 * 1024
CLAIM_COSTS: Final = 1024 * 1024
"""Bytes that a claim may make us hold: less than a hundredth of what is claimed."""

WELCOME: Final = encode_initial_response(InitialResponse(accepted=("acks", "over", "exec")))


class Host:
    """The session's own server: a link, and a program that prints what is typed."""

    def __init__(self) -> None:
        self.link = ResumableLink(KEY, Role.SERVER, self)
        self.typed = b""

    def packet_arrived(self, packet: Packet) -> None:
        if packet.type == PacketType.INITIAL_PAYLOAD:
            self.link.send(PacketType.INITIAL_RESPONSE, WELCOME)
            self.link.agree_acks()
        else:
            assert packet.type == PacketType.TERMINAL_BUFFER
            self.typed += decode_terminal_buffer(packet.payload)
            self.link.send(PacketType.TERMINAL_BUFFER, packet.payload)

    async def ready(self) -> None:
        self.link.dealt_with()

    async def serve(self, sock: socket.socket) -> None:
        with suppress(LineBroken, TrioetError):
            await self.link.run_server_line(SocketLine(sock), b"")


class Stage:
    """A client, its server, and what a stranger in the server's place says before."""

    def __init__(self, client: Client, listener: socket.socket, keys: int, screen: int) -> None:
        self.client = client
        self.host = Host()
        self.lies: list[bytes] = []
        """What is said on the connections that come next, one after the other."""
        self.let_go = 0
        """Connections with a stranger that the client has closed."""
        self.at_home = trio.Event()
        """The session's own server answers; until then it lets callers wait."""
        self.at_home.set()
        self._listener = listener
        self._keys = keys
        self._screen = screen
        self._shown = b""

    async def serve(self) -> None:
        """Accept the client's connections, for the stranger or for the server."""
        self._listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                sock, _ = await accept(self._listener)
                if self.lies:
                    nursery.start_soon(self._lie, sock, self.lies.pop(0))
                else:
                    nursery.start_soon(self._answer, sock)

    async def _answer(self, sock: socket.socket) -> None:
        await self.at_home.wait()
        await self.host.serve(sock)

    async def _lie(self, sock: socket.socket, lie: bytes) -> None:
        with suppress(trio.BrokenResourceError):
            async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
                await stream.send_all(lie)
                async for _ in stream:
                    pass
        self.let_go += 1

    def lose_line(self) -> None:
        self.client.link.drop_proven_line()

    async def settle(self) -> None:
        """The client knows what its server has received."""
        received = self.client.link.received
        self.client.link.send_keepalive()
        await until(lambda: self.client.link.received > received)

    async def check_echo(self, text: bytes) -> None:
        """What is typed reaches the program, and what it prints the screen, once."""
        typed, shown = self.host.typed, self._shown
        os.write(self._keys, text)
        await until(lambda: len(self._look()) >= len(shown + text))
        assert (self.host.typed, self._shown) == (typed + text, shown + text)

    def _look(self) -> bytes:
        with suppress(BlockingIOError):
            self._shown += os.read(self._screen, 65536)
        return self._shown


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass: pytest-trio takes it if the test asks for it."""
    return MockClock(rate=1)


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """What is typed: read, write; what is shown: read, write."""
    ends = (*os.pipe(), *os.pipe())
    os.set_blocking(ends[2], False)
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
async def stage(
    pipes: tuple[int, int, int, int], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Stage]:
    stdin, keys, screen, stdout = pipes
    caplog.set_level(logging.INFO)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        open_console(stdin, stdout, raw=False) as console,
    ):
        port = listener.getsockname()[1]
        wish = Wish(
            client_id=ID,
            passkey=KEY,
            host="there",
            dial=lambda: dial("127.0.0.1", port),
            environment={},
            exec=Exec(b"cat", pty=False),
        )
        made = Stage(Client(wish, console, lambda _data: None), listener, keys, screen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.serve)
            nursery.start_soon(made.client.run)
            yield made
            nursery.cancel_scope.cancel()


@pytest.fixture
async def session(stage: Stage) -> Stage:
    await stage.check_echo(b"first words")
    await stage.settle()
    return stage


def check_told_once(stage: Stage, caplog: pytest.LogCaptureFixture, why: str) -> None:
    (told,) = [message for message in caplog.messages if message.startswith("refused ")]
    assert told.startswith("refused 127.0.0.1 port ")
    assert why in told
    assert stage.client.reconnector.refused == 1


@contextmanager
def holding_little() -> Iterator[None]:
    """Within it, no more than CLAIM_COSTS bytes are taken at any time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < CLAIM_COSTS


def response(status: ConnectStatus) -> bytes:
    return connect_response_frame(ConnectResponse(status))


RETURNING: Final = response(ConnectStatus.RETURNING_CLIENT)
NOTHING: Final = catchup_head([])
FORGED: Final = join_body(
    PacketType.TERMINAL_BUFFER, SealedBox(bytes(32), Direction.SERVER_TO_CLIENT).seal(1, b"rm -rf")
)
REFLECTED: Final = join_body(
    PacketType.TERMINAL_BUFFER, SealedBox(KEY, Direction.CLIENT_TO_SERVER).seal(2, b"first words")
)


def header(count: int) -> bytes:
    return RETURNING + sequence_header_frame(count)


def entry(length: int, body: bytes = b"") -> bytes:
    """The head of a catch-up with one entry of a length, and what there is of it."""
    data = b"\x0a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + body
    return HANDSHAKE_LENGTH.pack(1000) + data


def framed(length: int, rest: bytes = b"") -> bytes:
    """A packet's length, and what there is of the packet."""
    return PACKET_LENGTH.pack(length & 0xFFFFFFFF) + rest


LIES: Final[dict[str, tuple[Callable[[int], bytes], str]]] = {
    # The count that the session's server would say, what is said, and why it is refused.
    "an answer of negative length": (lambda n: HANDSHAKE_LENGTH.pack(-1), "-1 bytes"),
    "an answer of 128 MiB": (lambda n: HANDSHAKE_LENGTH.pack(HUGE) + bytes(9999), f"{HUGE} bytes"),
    "an answer that is none": (lambda n: handshake_frame(b"\xff" * 9), "not a ConnectResponse"),
    "an answer without a status": (lambda n: handshake_frame(b""), "without a status"),
    "a status that nobody knows": (lambda n: handshake_frame(b"\x08\x07"), "without a status"),
    "a web server": (lambda n: b"HTTP/1.1 302 Found\r\n\r\n", "bytes announced"),
    "an ssh server": (lambda n: b"SSH-2.0-OpenSSH_9.2\r\n", "bytes announced"),
    "a new session": (lambda n: response(ConnectStatus.NEW_CLIENT), "forgotten the session"),
    "a header of negative length": (lambda n: RETURNING + HANDSHAKE_LENGTH.pack(-1), "-1 bytes"),
    "a header of 128 MiB": (lambda n: RETURNING + HANDSHAKE_LENGTH.pack(HUGE), f"{HUGE} bytes"),
    "a header that is none": (
        lambda n: RETURNING + handshake_frame(b"\xff" * 9),
        "not a SequenceHeader",
    ),
    "a negative count": (
        lambda n: RETURNING + handshake_frame(b"\x08" + b"\xff" * 9 + b"\x01"),
        "negative",
    ),
    "a count ahead by one": (lambda n: header(n + 1), "claims"),
    "the greatest count": (lambda n: header(2**31 - 1), "claims"),
    "a count of nothing": (lambda n: header(0), "has proven"),
    "a catch-up of negative length": (lambda n: header(n) + HANDSHAKE_LENGTH.pack(-1), "-1 bytes"),
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
    "a forged entry": (
        lambda n: header(n) + catchup_head([len(FORGED)]) + catchup_entry(FORGED),
        "does not open",
    ),
    "a second catch-up": (lambda n: header(n) + NOTHING + NOTHING, "0 bytes announced"),
    "a packet of no bytes": (lambda n: header(n) + NOTHING + framed(0), "0 bytes announced"),
    "a packet of one byte": (lambda n: header(n) + NOTHING + framed(1, b"\1"), "1 bytes announced"),
    "a packet too short to be sealed": (
        lambda n: header(n) + NOTHING + framed(17, b"\1\1" + bytes(15)),
        "17 bytes announced",
    ),
    "a packet of negative length": (lambda n: header(n) + NOTHING + framed(-1), "bytes announced"),
    "a packet of 2 GiB": (lambda n: header(n) + NOTHING + framed(2**31 - 1), "bytes announced"),
    "a packet of 128 MiB": (lambda n: header(n) + NOTHING + framed(HUGE), f"{HUGE} bytes"),
    "a packet in clear": (
        lambda n: header(n) + NOTHING + packet_frame(b"\0\1" + bytes(18)),
        "flag 0",
    ),
    "a bad tag": (lambda n: header(n) + NOTHING + packet_frame(FORGED), "does not open"),
    "the client's own packet": (
        lambda n: header(n) + NOTHING + packet_frame(REFLECTED),
        "does not open",
    ),
    "a packet of the session, again": (
        lambda n: header(n) + NOTHING + packet_frame(join_body(252, BOX.seal(1, WELCOME))),
        "does not open",
    ),
}


@pytest.mark.parametrize("name", LIES)
async def test_nonsense_in_the_servers_place_costs_its_socket(
    session: Stage, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    say, why = LIES[name]
    link = session.client.link
    received, proven = link.received, link.lines_proven
    session.at_home = trio.Event()
    with holding_little():
        session.lies.append(say(link.sent))
        session.lose_line()
        await until(lambda: session.let_go)
    assert (link.received, link.lines_proven) == (received, proven)
    session.at_home.set()
    await session.check_echo(b"still here")
    check_told_once(session, caplog, why)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        RETURNING[:5],
        RETURNING,
        RETURNING + HANDSHAKE_LENGTH.pack(4096),
    ],
)
async def test_a_server_that_falls_silent_is_not_waited_for(
    session: Stage, said: bytes, clock: MockClock
) -> None:
    session.lies.append(said)
    session.lose_line()
    await until(lambda: not session.lies)
    clock.jump(2)
    await session.check_echo(b"still here")
    await until(lambda: session.let_go)


async def test_a_server_that_falls_silent_behind_its_header_is_left_in_time(
    session: Stage, clock: MockClock
) -> None:
    """With a catch-up of 128 MiB under way, so it says."""
    session.lies.append(header(session.client.link.sent) + HANDSHAKE_LENGTH.pack(HUGE))
    session.lose_line()
    await until(lambda: not session.lies)
    await until(lambda: session.client.link.attached)
    clock.jump(PROOF_DEADLINE_S)
    await session.check_echo(b"still here")
    await until(lambda: session.let_go)


async def test_a_hundred_lies_keep_nobody_from_his_server(session: Stage, clock: MockClock) -> None:
    count = session.client.link.sent
    # Each line brings a packet more, so a count that is ahead is soon none.
    lies = [say(count) for name, (say, _) in LIES.items() if name != "a count ahead by one"]
    session.lies += 3 * lies
    session.lose_line()
    while session.lies:
        clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0.002)
    clock.jump(2)
    await session.check_echo(b"still here")
    assert session.client.reconnector.refused == 3 * len(lies) > 100


# With the key: a server that is ours and means no good, or packets that were retyped

OUTPUT: Final = encode_terminal_buffer(b"output of the program")
FAREWELL: Final = encode_session_over(SessionOver(status=3))

WITH_THE_KEY: Final[dict[str, tuple[int, bytes, str]]] = {
    "an unknown type": (99, b"", "packet type 99"),
    "a type of the client": (PacketType.INITIAL_PAYLOAD, b"", "packet type 253"),
    "a second INITIAL_RESPONSE": (PacketType.INITIAL_RESPONSE, WELCOME, "packet type 252"),
    "a forward to nowhere": (PacketType.PORT_FORWARD_DESTINATION_REQUEST, b"\x10\x07", "endpoint"),
    "a forward without its fd": (
        PacketType.PORT_FORWARD_DESTINATION_REQUEST,
        b"",
        "without its fd",
    ),
    "forwarded data that is none": (PacketType.PORT_FORWARD_DATA, b"\xff\xff", "PortForwardData"),
    "typing as forwarded data": (
        PacketType.PORT_FORWARD_DATA,
        encode_terminal_buffer(b"rm -rf"),
        "PortForwardData",
    ),
    "a channel that was not agreed": (PacketType.CHANNEL, b"", "packet type 67"),
    "output that is no protobuf": (PacketType.TERMINAL_BUFFER, b"\xff\xff", "not a TerminalBuffer"),
    "errors that are none": (PacketType.STDERR, b"\xff\xff", ""),
    "a farewell that is no protobuf": (PacketType.SESSION_OVER, b"\xff\xff", "not a SessionOver"),
    "a KEEP_ALIVE of seven bytes": (PacketType.KEEP_ALIVE, bytes(7), "7 bytes"),
    "a KEEP_ALIVE that acknowledges what was not sent": (
        PacketType.KEEP_ALIVE,
        encode_count(10**6),
        "acknowledged 1000000 packets",
    ),
    "output made a KEEP_ALIVE": (PacketType.KEEP_ALIVE, OUTPUT, "KEEP_ALIVE"),
    "output made a farewell": (PacketType.SESSION_OVER, OUTPUT, ""),
    "output made errors": (PacketType.STDERR, OUTPUT, ""),
    "errors made output": (PacketType.TERMINAL_BUFFER, encode_stderr(b"no such file"), ""),
    "errors made a farewell": (PacketType.SESSION_OVER, encode_stderr(b"no such file"), ""),
    "an empty farewell": (PacketType.SESSION_OVER, b"", ""),
    "output made a size": (PacketType.TERMINAL_INFO, OUTPUT, "packet type 2"),
    "output made an end of input": (PacketType.STDIN_EOF, OUTPUT, "packet type 66"),
    "a farewell made output": (PacketType.TERMINAL_BUFFER, FAREWELL, ""),
    "a farewell made an error": (PacketType.STDERR, FAREWELL, ""),
    "a farewell made a KEEP_ALIVE": (PacketType.KEEP_ALIVE, FAREWELL, "KEEP_ALIVE"),
    "an acknowledgement made output": (PacketType.TERMINAL_BUFFER, encode_count(9), ""),
    "an acknowledgement made a farewell": (PacketType.SESSION_OVER, encode_count(9), ""),
    "a size": (PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(24, 80)), "type 2"),
}


@pytest.mark.parametrize("name", WITH_THE_KEY)
async def test_a_packet_that_makes_no_sense_costs_its_socket_and_does_not_count(
    session: Stage, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    kind, payload, why = WITH_THE_KEY[name]
    packet = join_body(kind, BOX.seal(session.host.link.sent + 1, payload))
    session.lies.append(header(session.client.link.sent) + NOTHING + packet_frame(packet))
    session.lose_line()
    await until(lambda: session.let_go)
    await session.check_echo(b"in the same place")
    check_told_once(session, caplog, why)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (PacketType.TERMINAL_BUFFER, OUTPUT),
        (PacketType.SESSION_OVER, FAREWELL),
        (PacketType.INITIAL_RESPONSE, b"\xff\xff"),
        (PacketType.INITIAL_PAYLOAD, b""),
        (99, b""),
    ],
)
async def test_a_wrong_first_packet_costs_its_socket_and_the_session_may_begin(
    stage: Stage, caplog: pytest.LogCaptureFixture, kind: int, payload: bytes
) -> None:
    first = packet_frame(join_body(kind, BOX.seal(1, payload)))
    stage.lies.append(response(ConnectStatus.NEW_CLIENT) + first)
    await until(lambda: stage.let_go)
    await stage.check_echo(b"and yet")
    check_told_once(stage, caplog, "")
