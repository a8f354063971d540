"""A session on the server side: one program, one link, from first packet to last.

The client's first packet says what to run. Its output goes to the link as long as the
link has room; what is typed goes to the program. When the program has ended and all its
output is delivered, the session is over.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from trioet import __version__
from trioet.errors import LocalError, PacketError, SessionUsedUp
from trioet.link.resumable import ResumableLink
from trioet.session.attendance import Attendance
from trioet.session.audience import Audience
from trioet.session.credit import TERMINAL, Credit, Debt
from trioet.session.guest import Grant, NoTunnels
from trioet.session.keyboard import Keyboard, Took
from trioet.session.listeners import CannotListen
from trioet.session.program import (
    login_shell,
    shell_command,
    spawn_on_pipes,
    spawn_on_pty,
    user_environment,
)
from trioet.session.server_tunnels import ServerTunnels
from trioet.session.shell import LAST_OUTPUT_S, Shell
from trioet.session.terminfo import known_term
from trioet.session.utmp import record_login
from trioet.wire.channels import ChannelCredit
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    Exec,
    InitialPayload,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_initial_payload,
    decode_session_over,
    decode_terminal_buffer,
    decode_terminal_info,
    encode_initial_response,
    encode_notice,
    encode_session_over,
    encode_stderr,
    encode_terminal_buffer,
)
from trioet.wire.packet import Packet, PacketType

log = logging.getLogger(__name__)

FEATURES: Final = ("acks", "over", "exec", "channels", "quiet", "notice")
"""What this side offers beyond ET's protocol."""

ET_VERSION: Final = b"7.0.0"
"""What $ET_VERSION says: the Eternal Terminal release whose behaviour we follow."""

DEFAULT_SIZE: Final = WindowSize(24, 80)
SIZE_PATIENCE_S: Final = 0.25
"""How long a new shell waits for the size of its terminal. Clients send it at once."""

START_DEADLINE_S: Final = 120.0
"""A session whose client never came is dropped after this long."""

LAST_WORDS_DEADLINE_S: Final = 24 * 3600.0
"""How long the output of an ended session waits for its client to return."""

ABANDONED_S: Final = 7 * 24 * 3600.0
"""A session that runs nothing ends when its client has been away for so long. Laptops sleep
through a week; of a client that was killed nobody is left to say that it is not needed."""

MAX_PENDING_INPUT: Final = 4 * 1024 * 1024
"""Bytes typed that the program has not read, before the client is made to wait."""


ABANDONED: Final = "nobody came for a week"
USED_UP: Final = "this session has sent as many packets as it can count; connect again"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a session comes from: what ssh gave to `trioet terminal`."""

    term: str
    environment: Mapping[bytes, bytes]
    name: str
    directory: str = ""
    """The user's private one for sockets."""
    grant: Grant | None = None
    """The client is a guest, who may do no more than this."""


class TerminalSession:
    """The receiver of a link, and the program behind it."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._link: ResumableLink | None = None
        self._shell: Shell | None = None
        self._payload: InitialPayload | None = None
        self._begun = trio.Event()
        self._sized = trio.Event()
        self._left = False
        self._size = DEFAULT_SIZE
        self._keyboard = Keyboard(self._took)
        self._audience: Audience | None = None
        self._input_ends = False
        self._typist: trio.Nursery | None = None
        """Of the task that types what could not be typed at once, while there is a program."""
        self._is_typing = False
        self._drained = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self._tunnels: ServerTunnels | None = None
        self._screen = Credit()
        self._debt = Debt()
        self._grant = origin.grant
        self.attendance = Attendance()

    def __repr__(self) -> str:
        return f"<TerminalSession {self._origin.name} {self._shell!r} {self._keyboard!r}>"

    # Receiver

    def packet_arrived(self, packet: Packet) -> None:
        if self._payload is None:
            self._begin(packet)
            return
        match packet.type:
            case PacketType.TERMINAL_BUFFER:
                self._type(decode_terminal_buffer(packet.payload))
            case PacketType.TERMINAL_INFO:
                self._resize(decode_terminal_info(packet.payload))
            case PacketType.SESSION_OVER:
                if decode_session_over(packet.payload).reason != LEFT:
                    raise PacketError("a SESSION_OVER that no client sends")
                self._left = True
            case PacketType.STDIN_EOF:
                if packet.payload != END_OF_INPUT:
                    raise PacketError("a STDIN_EOF that no client sends")
                self._input_ends = self._may_type
                self._type_later()
            case _:
                assert self._tunnels is not None, "there since the first packet"
                self._tunnels.forwards.arrived(packet)

    async def ready(self) -> None:
        if self._left:
            self._end()
            return
        if not self._keyboard.owners or self._agreed_channels:
            self._linked.dealt_with()
        if self._tunnels is not None:
            await self._tunnels.forwards.ready()
        while self._keyboard.owners > MAX_PENDING_INPUT:
            await self._drained.park()

    @property
    def _linked(self) -> ResumableLink:
        assert self._link is not None, "run() comes first"
        return self._link

    @property
    def _agreed_channels(self) -> bool:
        return self._payload is not None and "channels" in self._payload.features

    def _begin(self, packet: Packet) -> None:
        if packet.type != PacketType.INITIAL_PAYLOAD:
            raise PacketError(f"packet type {packet.type} before INITIAL_PAYLOAD")
        payload = decode_initial_payload(packet.payload)
        self._payload = self._grant.limit(payload) if self._grant else payload
        assert self._nursery is not None, "run() comes first"
        error = _refusal(self._payload)
        accepted = tuple(name for name in FEATURES if name in self._payload.features)
        if "acks" in accepted:
            self._linked.agree_acks()
        if self._agreed_channels:
            self._screen.agree()
        self._tunnels = (NoTunnels if self._grant else ServerTunnels)(
            self._linked, self._payload, self._nursery, self._origin.directory, self._screen.grant
        )
        response = InitialResponse(error, accepted, __version__)
        self._linked.send(PacketType.INITIAL_RESPONSE, encode_initial_response(response))
        self._begun.set()

    @property
    def _may_type(self) -> bool:
        return self._grant is None or self._grant.write

    def _type(self, data: bytes) -> None:
        if not self._may_type:
            self._took(len(data))
            return
        if not self._keyboard and self._shell is not None:
            taken = self._shell.write_nowait(data)
            self._took(taken)
            data = data[taken:]
        if data:
            self._keyboard.put(data)
            self._type_later()

    def _took(self, amount: int) -> None:
        """The program has read so much of what was typed."""
        granted = self._debt.take(amount)
        if granted and self._agreed_channels:
            assert self._tunnels is not None, "they are agreed"
            self._tunnels.forwards.say(ChannelCredit(TERMINAL, granted))

    def _resize(self, size: WindowSize | None) -> None:
        if size is not None:
            self._size = size = self._grant.size(size) if self._grant else size
            self.resize_terminal(size)
            if self._audience is not None:
                self._audience.look()
        self._sized.set()

    # Stage: those who look on

    @property
    def name(self) -> str:
        """What $TRIOET_SESSION says."""
        return self._origin.name

    @property
    def window_size(self) -> WindowSize:
        return self._size

    def resize_terminal(self, size: WindowSize) -> None:
        if self._shell is not None:
            self._shell.resize(size)

    def type_for(self, data: bytes, took: Took) -> None:
        self._keyboard.put_for(data, took)
        self._type_later()

    def forget_typing(self, took: Took) -> None:
        self._keyboard.forget(took)

    def tell(self, text: str) -> None:
        """Tell the owner something, if it can be told beside what the program writes."""
        if self._payload is not None and "notice" in self._payload.features:
            self._linked.send(PacketType.NOTICE, encode_notice(text))

    def audience(self) -> Audience:
        """Those who look on, from now on.

        Raises:
          LocalError: there is nothing to look at.
        """
        if self._shell is None or self._shell.terminal is None or self._nursery is None:
            raise LocalError("this session has no terminal to look at")
        if self._audience is None:
            self._audience = Audience(self)
            self._nursery.start_soon(self._audience.redraw)
        return self._audience

    # The session's life

    async def run(self, link: ResumableLink) -> None:
        """Serve the session until it is over and its client knows.

        Cancellation ends the program (SIGHUP) and tells nobody.
        """
        self._link = link
        link.on_change = self._line_changed
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._serve(link)
                nursery.cancel_scope.cancel()
            if math.isfinite(nursery.cancel_scope.deadline):
                log.info("session %s: its guest did not come back", self._origin.name)
        finally:
            if self._audience is not None:
                self._audience.close()
            if self._tunnels is not None:
                self._tunnels.close()

    def _line_changed(self) -> None:
        # A program does not wait for a reader who is away: the replay buffer does, which is larger.
        is_there = self._linked.proven_line is not None
        self._screen.waive(not is_there)
        was_there = self.attendance.away_since is None
        self.attendance.note(is_there)
        if self._grant is not None and self._nursery is not None and is_there != was_there:
            # Guests who do not come back leave nothing behind. No task that waits for it: it
            # would be a good part of an idle session's memory.
            scope = self._nursery.cancel_scope
            scope.deadline = math.inf if is_there else trio.current_time() + self._grant.linger_s

    def _end(self) -> None:
        """A client that leaves for good leaves nothing behind: nobody else has its key."""
        assert self._nursery is not None, "run() comes first"
        self._linked.dealt_with()
        self._linked.send_keepalive()  # for which it waits before it goes
        self._nursery.cancel_scope.cancel()

    async def _serve(self, link: ResumableLink) -> None:
        deadline_s = self._grant.start_s if self._grant else START_DEADLINE_S
        with trio.move_on_after(deadline_s) as patience:
            await self._begun.wait()
            patience.deadline = math.inf
        if self._payload is None:
            log.info("session %s: no client came in %g s", self._origin.name, deadline_s)
            return
        if _refusal(self._payload):
            over = None
        else:
            over = await self._run_program(self._payload.exec or Exec())
        if over is not None and "over" in self._payload.features:
            link.send(PacketType.SESSION_OVER, encode_session_over(over))
        with trio.move_on_after(LAST_WORDS_DEADLINE_S):
            await link.wait_delivered()

    def farewell(self, reason: str) -> None:
        """Tell the client, if it can be told, why its session is about to be ended."""
        if self._payload is not None and "over" in self._payload.features:
            over = encode_session_over(SessionOver(reason=reason))
            self._linked.send(PacketType.SESSION_OVER, over)

    async def _run_program(self, wish: Exec) -> SessionOver:
        assert self._tunnels is not None, "there since the first packet"
        try:
            tunnels, failures = await self._tunnels.begin()
        except CannotListen as error:
            return SessionOver(reason=str(error))
        for failure in failures:
            self._print(f"trioet: {failure}\r\n".encode(errors="replace"))
        if wish.nothing:
            await self.attendance.wait_deserted(ABANDONED_S)  # if the client does not leave before
            return SessionOver(reason=ABANDONED)
        try:
            shell = await self._start(wish, tunnels)
        except LocalError as error:
            return SessionOver(status=127, reason=str(error))
        over = SessionOver(reason=USED_UP)
        try:
            over = await self._serve_program(shell)
        except* SessionUsedUp:
            log.warning("session %s: %s", self._origin.name, USED_UP)
        finally:
            if self._audience is not None:
                self._audience.close()
            await shell.aclose()
        return over

    async def _serve_program(self, shell: Shell) -> SessionOver:
        async with trio.open_nursery() as nursery:
            self._typist = nursery
            self._type_later()
            nursery.start_soon(self._pump, shell.read_output, PacketType.TERMINAL_BUFFER)
            if shell.has_stderr:
                nursery.start_soon(self._pump, shell.read_stderr, PacketType.STDERR)
            if shell.terminal is not None:
                nursery.start_soon(record_login, shell.terminal)
            try:
                status = await shell.wait()
            finally:
                self._typist = None
            nursery.cancel_scope.cancel()
        if shell.has_stderr:
            await self._last_output(shell.read_stderr, PacketType.STDERR)
        await self._last_output(shell.read_output, PacketType.TERMINAL_BUFFER)
        return SessionOver(status=status) if status >= 0 else SessionOver(signal=-status)

    async def _start(self, wish: Exec, tunnels: Mapping[bytes, bytes]) -> Shell:
        assert self._payload is not None
        environment = user_environment(
            self._origin.environment,
            self._payload.environment,
            {
                b"ET_VERSION": ET_VERSION,
                b"TRIOET_SESSION": self._origin.name.encode(),
                **tunnels,
            },
        )
        term, notice = known_term(self._origin.term, environment)
        environment[b"TERM"] = os.fsencode(term)
        if self._grant is not None:
            program = self._grant.program(environment)
        elif wish.command is None:
            program = login_shell(environment)
        else:
            program = shell_command(wish.command, environment)
        if not wish.pty:
            self._shell = Shell(spawn_on_pipes(program))
            return self._shell
        with trio.move_on_after(SIZE_PATIENCE_S):
            await self._sized.wait()
        if notice:
            self._print(f"trioet: {notice}\r\n".encode())
        if self._grant is not None:
            self._size = self._grant.size(self._size)
        self._shell = Shell(spawn_on_pty(program, self._size))
        if self._grant is not None:
            self._shell.hang_up_with(self._grant.close_signal, self._grant.close_timeout_s)
        return self._shell

    def _print(self, output: bytes, packet_type: int = PacketType.TERMINAL_BUFFER) -> None:
        encode = encode_stderr if packet_type == PacketType.STDERR else encode_terminal_buffer
        if self._audience is not None:
            self._audience.feed(output)
        self._screen.spend(len(output))
        self._linked.send(packet_type, encode(output))

    async def _pump(self, read: Callable[[], Awaitable[bytes]], packet_type: int) -> None:
        while output := await read():
            self._print(output, packet_type)
            await self._screen.wait()
            if not self._linked.has_room():
                await self._linked.wait_room()

    async def _last_output(self, read: Callable[[], Awaitable[bytes]], packet_type: int) -> None:
        # The program is gone; what it wrote may still be on its way through the pty, and
        # a background job may hold the pty open for ever: so until the end, or silence.
        while True:
            with trio.move_on_after(LAST_OUTPUT_S) as patience:
                output = await read()
                if not output:
                    return
                self._print(output, packet_type)
                patience.deadline = math.inf
                await self._screen.wait()
                await self._linked.wait_room()
            if patience.cancelled_caught:
                return

    def _type_later(self) -> None:
        """See that what could not be typed at once is typed."""
        if self._typist is not None and not self._is_typing:
            self._is_typing = True
            self._typist.start_soon(self._feed)

    async def _feed(self) -> None:
        assert self._shell is not None, "there is somebody to type to"
        while self._keyboard:
            self._keyboard.write(self._shell.write_nowait)
            if self._keyboard:
                await self._shell.wait_writable()
        self._is_typing = False
        self._drained.unpark_all()
        self._linked.dealt_with()
        if self._input_ends:
            self._shell.end_input()


def _refusal(payload: InitialPayload) -> bytes:
    if payload.jumphost:
        return b"this trioet server does not relay to other hosts"
    return b""
