"""Sessions of real programs, over a link to a client that the test plays."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import ID, KEY, Inbox
from trioet.errors import TrioetError
from trioet.link import room
from trioet.link.line import LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.link.room import WINDOW
from trioet.session.terminal import ABANDONED, ABANDONED_S, USED_UP, Origin, TerminalSession
from trioet.wire.backed import MAX_SEQUENCE
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    Exec,
    InitialPayload,
    SessionOver,
    WindowSize,
    decode_initial_response,
    decode_session_over,
    decode_stderr,
    decode_terminal_buffer,
    encode_initial_payload,
    encode_session_over,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import PacketType
from waiting import until

ALL = ("acks", "over", "exec")
ENVIRONMENT = {b"PATH": b"/usr/bin:/bin"}


class Session:
    """A session, and the client's end of its link."""

    def __init__(self, nursery: trio.Nursery, term: str = "xterm") -> None:
        self.nursery = nursery
        self.inbox = Inbox()
        self.client = ResumableLink(KEY, Role.CLIENT, self.inbox)
        self.inbox.link = self.client
        self.session = TerminalSession(Origin(term, ENVIRONMENT, "1.1"))
        self.server = ResumableLink(KEY, Role.SERVER, self.session)
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await self.session.run(self.server)
        self.ended.set()

    def connect(self) -> Cable:
        cable = Cable()
        self.nursery.start_soon(self._quietly, self.client.run_client_line, cable.client, ID)
        self.nursery.start_soon(self._quietly, self.server.run_server_line, cable.server, b"")
        return cable

    async def _quietly(self, run: Callable[..., Awaitable[None]], *arguments: object) -> None:
        with suppress(LineBroken, TrioetError):
            await run(*arguments)

    def begin(self, payload: InitialPayload | None = None) -> None:
        payload = payload or InitialPayload(features=ALL)
        self.client.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))

    def resize(self, rows: int, columns: int) -> None:
        self.client.send(PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(rows, columns)))

    def type(self, text: bytes) -> None:
        self.client.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))

    def shown(self, packet_type: int = PacketType.TERMINAL_BUFFER) -> bytes:
        decode = decode_stderr if packet_type == PacketType.STDERR else decode_terminal_buffer
        return b"".join(
            decode(packet.payload) for packet in self.inbox.packets if packet.type == packet_type
        )

    async def until_shown(self, text: bytes) -> None:
        await until(lambda: text in self.shown())

    async def until_over(self) -> None:
        await until(lambda: self.types()[-1:] == [PacketType.SESSION_OVER])
        await wait_all_tasks_blocked()  # until then the client has not dealt with it
        self.client.send_keepalive()
        with trio.fail_after(5):
            await self.ended.wait()

    def types(self) -> list[int]:
        return [packet.type for packet in self.inbox.packets]


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with trio.open_nursery() as nursery:
        yield Session(nursery)
        nursery.cancel_scope.cancel()


def run(command: bytes, *, pty: bool, **environment: bytes) -> InitialPayload:
    sent = {name.encode(): value for name, value in environment.items()}
    return InitialPayload(environment=sent, features=ALL, exec=Exec(command, pty))


async def test_a_shell_is_typed_to_and_answers(session: Session) -> None:
    session.connect()
    session.begin()
    session.resize(33, 111)
    session.type(b"stty size; echo $TERM $ET_VERSION $TRIOET_SESSION; exit 5\n")
    await session.until_over()
    assert b"33 111\r\nxterm 7.0.0 1.1\r\n" in session.shown()
    assert decode_session_over(session.inbox.payloads[-1]).status == 5


async def test_the_first_answer_says_what_was_accepted(session: Session) -> None:
    session.connect()
    session.begin(InitialPayload(features=("over", "time-travel")))
    await until(lambda: bool(session.inbox.packets))
    assert session.types()[0] == PacketType.INITIAL_RESPONSE
    assert decode_initial_response(session.inbox.payloads[0]).accepted == ("over",)


async def test_a_command_on_pipes_has_its_own_stderr_and_status(session: Session) -> None:
    session.connect()
    session.begin(run(b"cat; echo oops >&2; exit 42", pty=False))
    session.type(b"\x00\xff\r\n")
    session.client.send(PacketType.STDIN_EOF, END_OF_INPUT)
    await session.until_over()
    assert session.shown() == b"\x00\xff\r\n"
    assert session.shown(PacketType.STDERR) == b"oops\n"
    assert decode_session_over(session.inbox.payloads[-1]).status == 42


async def test_a_command_that_a_signal_ends(session: Session) -> None:
    session.connect()
    session.begin(run(b"kill -9 $$", pty=False))
    await session.until_over()
    assert decode_session_over(session.inbox.payloads[-1]).signal == 9


async def test_output_made_while_the_client_is_away_arrives_before_the_end(
    session: Session, tmp_path: Path
) -> None:
    cable = session.connect()
    script = f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; seq 20000; exit 3"
    session.begin(run(script.encode(), pty=False))
    session.client.send_keepalive()
    await until(lambda: bool(session.inbox.packets))
    cable.cut()
    (tmp_path / "go").touch()
    await until(lambda: b"status=3" in repr(session.session).encode())
    assert not session.ended.is_set()

    session.connect()
    await session.until_over()
    assert session.shown() == b"".join(b"%d\n" % number for number in range(1, 20001))
    assert decode_session_over(session.inbox.payloads[-1]).status == 3


async def test_a_flood_is_held_back_while_the_client_does_not_read(session: Session) -> None:
    session.connect()
    session.begin(run(b"yes", pty=True))
    session.client.send_keepalive()
    await session.until_shown(b"y")
    session.inbox.busy = trio.Event()
    await until(lambda: not session.server.has_room())
    assert session.server.in_flight < 400_000
    session.type(b"\x03")
    session.inbox.busy.set()
    await session.until_over()


async def test_a_program_waits_for_a_client_that_shows_nothing_and_not_for_one_that_is_away(
    session: Session,
) -> None:
    flood = run(b"head -c 3000000 /dev/zero", pty=False)
    session.begin(replace(flood, features=(*ALL, "channels")))
    cable = session.connect()
    await until(lambda: len(session.shown()) >= WINDOW)
    await wait_all_tasks_blocked(0.02)
    assert len(session.shown()) < 2 * WINDOW
    cable.cut()
    await until(lambda: session.server.kept_bytes > 2_000_000)
    session.connect()
    await until(lambda: len(session.shown()) > 2_000_000)


async def test_an_unknown_term_is_replaced_with_a_notice() -> None:
    async with trio.open_nursery() as nursery:
        session = Session(nursery, term="xterm-of-tomorrow")
        session.connect()
        session.begin(run(b"echo $TERM", pty=True))
        await session.until_over()
        first, second = session.shown().split(b"\r\n")[:2]
        assert first.startswith(b"trioet: no terminfo for TERM='xterm-of-tomorrow'")
        assert second == b"xterm-256color"
        nursery.cancel_scope.cancel()


async def test_a_term_that_the_client_brings_a_description_of_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine").touch()
    async with trio.open_nursery() as nursery:
        session = Session(nursery, term="mine")
        session.connect()
        dirs = os.fsencode(tmp_path)
        session.begin(run(b"printf %s $TERM", pty=True, TERMINFO_DIRS=dirs, TERM=b"other"))
        await session.until_over()
        assert session.shown() == b"mine"
        nursery.cancel_scope.cancel()


async def test_what_the_client_sends_is_in_the_environment(session: Session) -> None:
    session.connect()
    session.begin(run(b"printf %s $FOO", pty=False, FOO=b"b\xe4r"))
    await session.until_over()
    assert session.shown() == b"b\xe4r"


async def test_a_program_that_cannot_be_started_is_told(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioet.session.program._shell_path", lambda: "/no/such/shell")
    session.connect()
    session.begin()
    session.resize(24, 80)
    await session.until_over()
    over = decode_session_over(session.inbox.payloads[-1])
    assert over.status == 127
    assert "cannot start /no/such/shell" in over.reason


async def test_an_et_client_is_told_nothing_that_it_would_not_understand(
    session: Session,
) -> None:
    cable = session.connect()
    session.begin(InitialPayload())
    session.resize(24, 80)
    session.type(b"exit\n")
    await until(lambda: session.server.sent > 1 and cable.server.out.shut)
    await wait_all_tasks_blocked()
    assert set(session.types()) == {PacketType.INITIAL_RESPONSE, PacketType.TERMINAL_BUFFER}
    cable.client.shutdown()
    with trio.fail_after(5):
        await session.ended.wait()


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        (InitialPayload(jumphost=True), b"does not relay"),
    ],
)
async def test_what_is_not_served_is_refused_in_words(
    session: Session, wish: InitialPayload, complaint: bytes
) -> None:
    session.connect()
    session.begin(wish)
    await until(lambda: bool(session.inbox.packets))
    error = decode_initial_response(session.inbox.payloads[0]).error
    assert complaint in error


@pytest.mark.parametrize(("packet_type", "payload"), [(1, b""), (99, b"")])
async def test_a_wrong_first_packet_costs_the_connection_only(
    session: Session, packet_type: int, payload: bytes
) -> None:
    session.connect()
    session.client.send(packet_type, payload)
    await until(lambda: not session.server.attached)
    assert not session.ended.is_set()
    assert session.server.received == 0


@pytest.mark.parametrize(("packet_type", "payload"), [(99, b""), (1, b"\xff"), (252, b"")])
async def test_a_packet_that_makes_no_sense_costs_the_connection_only(
    session: Session, packet_type: int, payload: bytes
) -> None:
    session.connect()
    session.begin()
    session.client.send(packet_type, payload)
    await until(lambda: session.server.received == 1 and not session.server.attached)
    assert not session.ended.is_set()


async def test_cancelling_ends_the_program() -> None:
    async with trio.open_nursery() as nursery:
        session = Session(nursery)
        session.connect()
        session.begin(run(b"echo pid $$; exec sleep 1000", pty=True))
        await session.until_shown(b"\n")
        pid = int(session.shown().split()[1])
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_client_that_leaves_for_good_leaves_nothing_behind(session: Session) -> None:
    session.connect()
    session.begin(run(b"echo pid $$; exec sleep 1000", pty=True))
    await session.until_shown(b"\n")
    pid = int(session.shown().split()[1])
    session.client.send(PacketType.SESSION_OVER, encode_session_over(SessionOver(reason=LEFT)))
    with trio.fail_after(5):
        await session.ended.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_client_that_leaves_hears_that_this_is_known(session: Session) -> None:
    session.connect()
    session.client.agree_acks()
    session.begin(InitialPayload(features=ALL, exec=Exec(nothing=True)))
    await until(lambda: session.inbox.packets)
    session.client.send(PacketType.SESSION_OVER, encode_session_over(SessionOver(reason=LEFT)))
    with trio.fail_after(5):
        await session.client.wait_delivered()
        await session.ended.wait()


async def test_a_session_that_runs_nothing_ends_a_week_after_its_client_was_last_there(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        session = Session(nursery)
        cable = session.connect()
        session.begin(InitialPayload(features=ALL, exec=Exec(nothing=True)))
        for _ in range(3):
            await wait_all_tasks_blocked()
            assert session.server.proven_line is not None
            await trio.sleep(2 * ABANDONED_S)  # while the client is there
            cable.cut()
            await trio.sleep(ABANDONED_S - 1)
            cable = session.connect()
        await wait_all_tasks_blocked()
        cable.cut()
        await trio.sleep(ABANDONED_S + 1)
        assert session.types()[-1] != PacketType.SESSION_OVER
        session.connect()
        await wait_all_tasks_blocked()
        assert decode_session_over(session.inbox.packets[-1].payload).reason == ABANDONED
        nursery.cancel_scope.cancel()


async def test_a_session_that_can_count_no_further_ends_with_words(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens before packet 2**31 - 1, with most of the way there left out."""
    monkeypatch.setattr(room, "LAST_PACKETS", MAX_SEQUENCE - 200)
    session.connect()
    session.client.agree_acks()
    session.begin(run(b"while echo on and on; do :; done", pty=True))
    session.resize(24, 80)
    await session.until_over()
    over = decode_session_over(session.inbox.packets[-1].payload)
    assert over.reason == USED_UP
    assert over.status is None
    assert 200 <= session.server.sent < 300
