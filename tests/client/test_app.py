"""The client's receiving end: packets in, terminal out."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import ID, KEY
from trioet.client.app import KEEPALIVE_S, LAST_WORD_S, Client
from trioet.client.console import open_console
from trioet.client.wish import Wish
from trioet.errors import StepFailed, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.link.rhythm import LONGEST_S
from trioet.session.terminal import Origin, TerminalSession
from trioet.wire.messages import (
    Exec,
    InitialResponse,
    encode_initial_response,
    encode_terminal_buffer,
)
from trioet.wire.packet import Packet, PacketType


async def nobody() -> Line:
    await trio.sleep_forever()


class Terminal:
    """A client whose terminal is a pipe that the test reads when it likes."""

    def __init__(self) -> None:
        self.keys_out, self.keys_in = os.pipe()
        self.screen_out, self.screen_in = os.pipe()
        os.set_blocking(self.screen_out, False)

    def read(self) -> bytes:
        seen = b""
        with suppress(BlockingIOError):
            while data := os.read(self.screen_out, 1 << 20):
                seen += data
        return seen

    def close(self) -> None:
        for descriptor in (self.keys_in, self.keys_out, self.screen_in, self.screen_out):
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def output(text: bytes) -> Packet:
    return Packet(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))


async def test_two_lines_at_once_never_mix_what_they_bring(terminal: Terminal) -> None:
    """A suspect line that speaks again, beside a new one, before a terminal that is slow."""
    with open_console(terminal.keys_out, terminal.screen_in, raw=False) as console:
        wish = Wish(client_id=ID, passkey=KEY, host="there", dial=nobody, environment={})
        client = Client(wish, console, lambda data: None)
        welcome = InitialResponse(b"", (), "")
        sent = [bytes([65 + number]) * 100_000 for number in range(6)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await wait_all_tasks_blocked()
            client.packet_arrived(
                Packet(PacketType.INITIAL_RESPONSE, encode_initial_response(welcome))
            )
            cancelled = trio.CancelScope()
            client.packet_arrived(output(sent[0]))
            nursery.start_soon(_ready, client, cancelled)
            await wait_all_tasks_blocked()
            for text in sent[1:]:
                client.packet_arrived(output(text))
                nursery.start_soon(_ready, client, trio.CancelScope())
                await wait_all_tasks_blocked()
            cancelled.cancel()
            seen = b""
            while len(seen) < sum(map(len, sent)):
                await wait_all_tasks_blocked()
                seen += terminal.read()
            nursery.cancel_scope.cancel()
        assert seen == b"".join(sent)


async def _ready(client: Client, scope: trio.CancelScope) -> None:
    with scope:
        await client.ready()


@pytest.mark.parametrize(
    ("asked", "accepted", "silences"),
    [
        (None, ("quiet",), (KEEPALIVE_S, LONGEST_S)),
        (None, (), (KEEPALIVE_S, KEEPALIVE_S)),
        (2.0, ("quiet",), (2.0, 2.0)),
        (2.0, (), (2.0, 2.0)),
        (60.0, ("quiet",), (60.0, 60.0)),
        (60.0, (), (KEEPALIVE_S, KEEPALIVE_S)),
    ],
)
async def test_only_who_agreed_is_left_in_silence_and_as_the_user_says(
    terminal: Terminal,
    asked: float | None,
    accepted: tuple[str, ...],
    silences: tuple[float, float],
) -> None:
    with open_console(terminal.keys_out, terminal.screen_in, raw=False) as console:
        wish = Wish(
            client_id=ID,
            passkey=KEY,
            host="there",
            dial=nobody,
            environment={},
            keepalive_s=asked,
        )
        client = Client(wish, console, lambda data: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await wait_all_tasks_blocked()
            welcome = encode_initial_response(InitialResponse(b"", accepted, ""))
            client.packet_arrived(Packet(PacketType.INITIAL_RESPONSE, welcome))
            rhythm = client._liveness.rhythm
            assert (rhythm.shortest, rhythm.longest) == silences
            nursery.cancel_scope.cancel()


class Stay:
    """A session without a terminal, whose server is there until its client leaves."""

    def __init__(self, terminal: Terminal, nursery: trio.Nursery) -> None:
        self.terminal = terminal
        self.nursery = nursery
        self.session = TerminalSession(Origin("xterm", {}, "1.1"))
        self.link = ResumableLink(KEY, Role.SERVER, self.session)
        self.cable = Cable()
        self.dial: Callable[[], Awaitable[Line]] = self.connect
        self.over = trio.Event()
        self.failure: TrioetError | None = None
        nursery.start_soon(self._serve)

    async def connect(self) -> Line:
        self.cable = Cable()
        self.nursery.start_soon(self._serve_line, self.cable.server)
        return self.cable.client

    async def be_left(self, *, lost: bool = False, dial: Callable[[], Awaitable[Line]]) -> None:
        """Let a client come, and leave; at the moment when its connection is lost, if so said."""
        self.dial = self.connect
        with open_console(self.terminal.keys_out, self.terminal.screen_in, raw=False) as console:
            wish = Wish(
                client_id=ID,
                passkey=KEY,
                host="there",
                dial=lambda: self.dial(),
                environment={},
                exec=Exec(nothing=True),
                has_terminal=False,
            )
            client = Client(wish, console, lambda data: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, client)
                await wait_all_tasks_blocked()
                self.dial = dial
                if lost:
                    self.cable.cut()
                client.leave(StepFailed("session", "left"))

    async def _run(self, client: Client) -> None:
        with pytest.raises(StepFailed, match="left"):
            await client.run()

    async def _serve(self) -> None:
        await self.session.run(self.link)
        self.link.close()
        self.over.set()

    async def _serve_line(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            await self.link.run_server_line(line, b"")


@pytest.mark.parametrize("lost", [False, True])
async def test_who_leaves_goes_when_the_server_knows(
    terminal: Terminal, autojump_clock: MockClock, lost: bool
) -> None:
    async with trio.open_nursery() as nursery:
        stay = Stay(terminal, nursery)
        begun = trio.current_time()
        await stay.be_left(lost=lost, dial=stay.connect)
        assert trio.current_time() - begun < LAST_WORD_S
        with trio.fail_after(10):
            await stay.over.wait()


async def test_who_leaves_because_nothing_answers_waits_a_moment_only(
    terminal: Terminal, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        stay = Stay(terminal, nursery)
        begun = trio.current_time()
        await stay.be_left(lost=True, dial=nobody)
        assert trio.current_time() - begun == pytest.approx(LAST_WORD_S)
        assert not stay.over.is_set()
        nursery.cancel_scope.cancel()
