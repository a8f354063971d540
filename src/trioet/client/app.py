"""The client: console on one side, an eternal link on the other.

One nursery owns the tasks: reconnect loop, liveness, typing, window size, status line,
wakers. What is shown, and how, is the business of screen.py; tunnels are that of tunnels.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import trio

from trioet.bootstrap.plain import plain
from trioet.client.command_line import CommandLine, take_line
from trioet.client.console import Console, watch_window_size
from trioet.client.escapes import EscapeCommand, EscapeFilter, help_text
from trioet.client.notices import Notices
from trioet.client.routes import Routes
from trioet.client.screen import Screen
from trioet.client.silence import Silence
from trioet.client.tunnels import ClientTunnels
from trioet.client.typed_ahead import TYPED_AHEAD, TypedAhead
from trioet.client.wakers import watch_network, watch_resume
from trioet.client.wish import Wish
from trioet.errors import (
    LocalError,
    PacketError,
    SessionLost,
    SessionUsedUp,
    StepFailed,
    TrioetError,
)
from trioet.link.line import Line
from trioet.link.liveness import Liveness
from trioet.link.reconnect import DENIED_S, CannotConnect, Reconnector
from trioet.link.resumable import Refused, ResumableLink, Role
from trioet.link.rhythm import LONGEST_S, Rhythm
from trioet.session.credit import TERMINAL, Debt
from trioet.session.forwards import Forwards
from trioet.wire.channels import ChannelCredit
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    InitialPayload,
    SessionOver,
    WindowSize,
    decode_initial_response,
    decode_notice,
    decode_session_over,
    decode_stderr,
    decode_terminal_buffer,
    encode_initial_payload,
    encode_session_over,
    encode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType

FEATURES: Final = ("acks", "over", "exec", "channels", "quiet", "notice")

END_OF_SHELL: Final = b"\x04"
"""All that ends a session of ET's is that its shell does."""

PARTING_S: Final = 30.0
"""How long a session that has served its purpose waits for the network, to tell the server."""

KEEPALIVE_S: Final = 5.0
"""Between signs of life while somebody works; a real etserver gives up who is silent longer."""

RESPONSE_DEADLINE_S: Final = 15.0
"""From the first connection to the server's INITIAL_RESPONSE."""

LATE_S: Final = 2.0
"""A real jumphost is told of a session only after ssh has ended (specification 2.3)."""

LAST_WORD_S: Final = 1.0
"""Who leaves waits so long at most until the server has heard of it. Mostly that is a round trip;
and who leaves because nothing answers does not want to wait."""

EXIT_LOST: Final = 255
"""Exit status where the session ended and nobody said with which."""

SIGNAL_BASE: Final = 128
"""Exit status of a command that a signal ended, as shells say it."""


class Client:
    """One session, from the first connection to the exit status."""

    def __init__(self, wish: Wish, console: Console, errors: Callable[[bytes], None]) -> None:
        self._wish = wish
        self._console = console
        self._write_error = errors
        self.link = ResumableLink(wish.passkey, Role.CLIENT, self)
        self.reconnector = Reconnector(self.link, wish.client_id, wish.dial)
        if wish.jumphost is not None:
            self.reconnector.unknown_s = LATE_S
        self._liveness = Liveness(self.link, _rhythm(wish.keepalive_s, quiet=False), self._suspect)
        self._routes = Routes()
        self.link.on_change = self._line_changed
        self.on_line_change: Callable[[], None] = lambda: None
        """Called when a line was attached, proven or lost."""
        self._screen = Screen(console, self._grant, self.leave)
        self._notices = Notices(
            self._screen,
            lambda: self._size[:2],
            lambda: self._silence.over(WindowSize(*self._size)),
        )
        self._debt = Debt()
        self._typed = TypedAhead(self.link)
        self._nursery: trio.Nursery | None = None
        self._forwards: Forwards | None = None
        self.tunnels = ClientTunnels(
            wish.forwards,
            exit_on_failure=wish.exit_on_forward_failure,
            notice=console.notice,
            fail=self.leave,
            on_credit=self._typed.credit.grant,
        )
        self._command_line = CommandLine(
            console, self._screen, self.tunnels, gateway_ports=wish.gateway_ports
        )
        self._size = console.window_size()
        self._silence = Silence(
            self.link, self.reconnector, self._screen, wish.host, wish.login_needed
        )
        self._accepted: frozenset[str] | None = None
        self._welcomed = trio.Event()
        self._patience = trio.CancelScope()
        """Of :meth:`_enter`, for the first answer."""
        self._over: SessionOver | None = None
        self._parting = False
        self._failure: TrioetError | None = None
        self._leaving = False
        self._finished = trio.Event()

    # Receiver

    def packet_arrived(self, packet: Packet) -> None:
        self._liveness.used()
        if self._accepted is None:
            self._welcome(packet)
            return
        match packet.type:
            case PacketType.TERMINAL_BUFFER:
                output = decode_terminal_buffer(packet.payload)
                if self._wish.has_terminal:
                    self._screen.take(output)
                else:
                    self._grant(len(output))
            case PacketType.STDERR:
                said = decode_stderr(packet.payload)
                self._write_error(said)
                self._grant(len(said))
            case PacketType.NOTICE:
                self._notices.tell(f"trioet: {plain(decode_notice(packet.payload))}")
            case PacketType.SESSION_OVER:
                self._over = decode_session_over(packet.payload)
            case _:
                assert self._forwards is not None, "there since the first packet"
                self._forwards.arrived(packet)

    async def ready(self) -> None:
        self._silence.over(WindowSize(*self._size))
        with self.link.together():  # credit and acknowledgement are mostly due at once
            self._screen.show()
            if self._agreed_channels and self._over is None:
                self.link.dealt_with()
                return
        if self._screen.behind:
            await self._screen.show_the_rest()
        if self._forwards is not None:
            await self._forwards.ready()
        self.link.dealt_with()
        if self._over is not None:
            self.link.send_keepalive()
            self._finished.set()

    @property
    def _agreed_channels(self) -> bool:
        return "channels" in (self._accepted or ())

    def _grant(self, amount: int) -> None:
        """So much of the program's output was dealt with: let more come."""
        granted = self._debt.take(amount)
        if granted and self._agreed_channels:
            assert self._forwards is not None, "they are agreed"
            with self.link.together():
                self._forwards.say(ChannelCredit(TERMINAL, granted))
                if self._over is None:
                    self.link.dealt_with(along=True)

    def _welcome(self, packet: Packet) -> None:
        if packet.type != PacketType.INITIAL_RESPONSE:
            raise PacketError(f"packet type {packet.type} before INITIAL_RESPONSE")
        response = decode_initial_response(packet.payload)
        self._accepted = frozenset(response.accepted)
        if "acks" in self._accepted:
            self.link.agree_acks()
        if "over" in self._accepted:
            self.reconnector.denied_s = DENIED_S
        if "quiet" in self._accepted:
            self._liveness.rhythm = _rhythm(self._wish.keepalive_s, quiet=True)
        assert self._nursery is not None, "run() comes first"
        if self._agreed_channels:
            self._typed.credit.agree()
            self._nursery.start_soon(self._screen.keep_showing)
        self._forwards = self.tunnels.begin(self.link, self._agreed_channels, self._nursery)
        if response.error:
            text = plain(response.error)
            self.fail(StepFailed("session", f"{self._wish.host} refused the session: {text}"))
        elif self._wish.raw:
            self._console.enter_raw()
        self._welcomed.set()

    @property
    def _unanswered(self) -> bool:
        """True if what the destination takes of an offer would not reach us: a real jumphost
        answers itself (specification 6.1). Then we do as ET does."""
        return self._wish.jumphost is not None and not self._wish.jumphost.is_trioet

    # The session's life

    async def run(self) -> int:
        """Run the session; return the exit status.

        Cancellation closes the connection; the session stays alive on the server.

        Raises:
          StepFailed: no session could be had.
          SessionLost: there was one, and the server no longer knows it.
        """
        try:
            await self._ask()
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._keep_connected)
                nursery.start_soon(self._liveness.run)
                nursery.start_soon(self._enter, nursery)
                await self._finished.wait()
                if self._leaving:
                    with trio.move_on_after(LAST_WORD_S):
                        await self.link.wait_delivered()
                nursery.cancel_scope.cancel()
        finally:
            self._screen.restore()
            self.tunnels.close()
            self.link.close()
        if self._failure is not None:
            raise self._failure
        return self._exit_status()

    async def _ask(self) -> None:
        """Ask for the session."""
        wish = self._wish
        runs = wish.exec
        if wish.exit_on_forward_failure and not await self.tunnels.bind():
            runs = replace(runs, nothing=True)
        payload = InitialPayload(
            environment=wish.environment,
            jumphost=wish.jumphost is not None,
            reverse_tunnels=self.tunnels.reverse_tunnels,
        )
        if not self._unanswered:
            payload = replace(
                payload,
                features=FEATURES,
                exec=runs,
                listens=self.tunnels.listens,
                listens_required=wish.exit_on_forward_failure,
            )
        self.link.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        if wish.exec.pty:
            self._send_size()

    async def _enter(self, nursery: trio.Nursery) -> None:
        self._patience.deadline = trio.current_time() + RESPONSE_DEADLINE_S
        with self._patience:
            await self._welcomed.wait()
        if self._patience.cancelled_caught:
            what = f"{self._wish.host} did not answer within {RESPONSE_DEADLINE_S:g} s"
            self.fail(StepFailed("session", what, "is it really a trioet or ET server?"))
            return
        if self._failure is not None:
            return
        assert self._accepted is not None
        nursery.start_soon(self._send_typed)
        if self._wish.typed and not self._runs_command():
            self._type(self._wish.typed)
        if self._unanswered:
            nursery.start_soon(self._expect_more)
        has_screen = self._wish.has_terminal and self._wish.exec.pty
        if self._console.is_tty_told and not has_screen and self._wish.purpose is None:
            nursery.start_soon(self._silence.announce, self._console.notice)
        nursery.start_soon(watch_network, self._network_changed)
        nursery.start_soon(watch_resume, self._resumed)
        if self._wish.purpose is not None:
            nursery.start_soon(self._fulfil, self._wish.purpose)
            return
        if not self._wish.has_terminal:
            self._console.notice(
                f"trioet: connected to {self._wish.host}, without a terminal; Ctrl-C ends it"
            )
            return
        nursery.start_soon(self._read_keys)
        if self._wish.exec.pty:
            nursery.start_soon(
                watch_window_size, self._console, self._window_changed, self._resumed
            )
            nursery.start_soon(self._silence.watch, lambda: WindowSize(*self._size))
            nursery.start_soon(self._notices.run)

    async def _fulfil(self, purpose: Callable[[Forwards], Awaitable[None]]) -> None:
        assert self._forwards is not None, "there since the first packet"
        try:
            await purpose(self._forwards)
        except StepFailed as error:
            self._failure = error
        self._over = SessionOver(status=0)
        if "over" in (self._accepted or ()):
            await self._part()
        else:
            self._type(END_OF_SHELL)
        self._finished.set()

    async def _part(self) -> None:
        """Tell the server that the session may end, and wait till it knows."""
        self._parting = True
        self.reconnector.denied_s = 0.0  # who has heard it does not know us any more
        self._say_goodbye()
        with trio.move_on_after(PARTING_S):
            await self.link.wait_delivered()

    async def _expect_more(self) -> None:
        """A real jumphost does not say that it cannot reach the destination."""
        await trio.sleep(RESPONSE_DEADLINE_S)
        if self._only_jumphost_heard():
            self.fail(self._nothing_beyond())

    def _only_jumphost_heard(self) -> bool:
        return self._unanswered and self.link.received <= 1

    def _nothing_beyond(self) -> StepFailed:
        assert self._wish.jumphost is not None, "it was asked about"
        return StepFailed(
            "jump",
            f"the jumphost {self._wish.jumphost.host} answers, and nothing comes from "
            f"{self._wish.host} behind it",
            "can it reach the server there? A real Eternal Terminal jumphost does not tell",
        )

    def _runs_command(self) -> bool:
        """True when the server runs our command itself, and tells its exit status."""
        return "exec" in (self._accepted or ()) and self._wish.exec.command is not None

    async def _keep_connected(self) -> None:
        line: Line | None = None
        while True:
            failure: BaseException | None = None
            try:
                await self.reconnector.run(line)
            except* (CannotConnect, Refused, SessionLost, LocalError) as group:
                failure = group
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            assert isinstance(failure, TrioetError), "it never returns"
            line = None
            if isinstance(failure, CannotConnect) and self._wish.login_needed():
                self._patience.deadline = math.inf
                line = await self._ask_for_line()
                self._patience.deadline = trio.current_time() + RESPONSE_DEADLINE_S
            if line is None:
                self._connection_failed(failure)
                return

    def _connection_failed(self, error: TrioetError) -> None:
        if self._parting:
            self._finished.set()
            return
        if isinstance(error, SessionLost) and "over" not in (self._accepted or ()):
            if self._only_jumphost_heard():
                self.fail(self._nothing_beyond())
                return
            # An ET server has no other way to say that the shell has ended (1.12).
            self._over = SessionOver(status=0)
            self._finished.set()
            return
        self.fail(error)

    def fail(self, error: TrioetError) -> None:
        """End the session here, with an error for the user."""
        self._failure = self._failure or error
        self._finished.set()

    def leave(self, error: TrioetError) -> None:
        """The user goes for good: end the session there as well, if it can be told."""
        if "over" in (self._accepted or ()):
            self._say_goodbye()
            self._leaving = True
        self.fail(error)

    def _say_goodbye(self) -> None:
        self.link.send(PacketType.SESSION_OVER, encode_session_over(SessionOver(reason=LEFT)))

    def _exit_status(self) -> int:
        over = self._over or SessionOver(status=EXIT_LOST)
        if over.reason:
            self._console.notice(f"trioet: {plain(over.reason)}")
        if over.signal is not None:
            return SIGNAL_BASE + over.signal
        return over.status if over.status is not None else EXIT_LOST

    # Typing

    def asked(self) -> None:
        """Something was sent that somebody waits for an answer to."""
        self._liveness.sent()
        self.reconnector.typed()

    async def _read_keys(self) -> None:
        keys = EscapeFilter(self._wish.escape if self._console.is_raw else None)
        while data := await self._console.read():
            parts = deque(keys.feed(data))
            while parts:
                part = parts.popleft()
                if part is EscapeCommand.COMMAND_LINE:
                    await self._command_line.follow(take_line(parts))
                elif part is EscapeCommand.LOG_IN:
                    await self._log_in()
                elif isinstance(part, EscapeCommand):
                    self._command(part)
                else:
                    self._type(part)
            await self._typed.wait_sent(but=TYPED_AHEAD if self._console.is_raw else 0)
        await self._typed.wait_sent()
        if "exec" in (self._accepted or ()):
            self.link.send(PacketType.STDIN_EOF, END_OF_INPUT)
        else:
            self._type(END_OF_SHELL)

    async def _send_typed(self) -> None:
        try:
            await self._typed.run()
        except SessionUsedUp as error:
            self.leave(StepFailed("session", str(error), "connect again for a new one"))

    def _type(self, data: bytes) -> None:
        self._typed.put(data)
        self.asked()

    def _command(self, command: EscapeCommand) -> None:
        match command:
            case EscapeCommand.DISCONNECT:
                self.leave(StepFailed("session", f"disconnected from {self._wish.host}"))
            case EscapeCommand.HELP:
                self._console.notice(help_text(self._wish.escape or b"~"))
            case EscapeCommand.LIST:
                self._console.notice(f"\r\n{self.tunnels.report()}")
            case EscapeCommand.SUSPEND:
                self._console.suspend()
                self._window_changed(self._console.window_size())
                self._resumed()

    async def _log_in(self) -> None:
        """Follow ~L: the session goes over the connection of a new login."""
        if self._wish.log_in is None:
            self._console.notice("trioet: ssh is no way of this session; see --via")
        elif line := await self._ask_for_line():
            self.reconnector.take_beside(line)

    async def _ask_for_line(self) -> Line | None:
        """Let ssh ask the user; return its connection, None if there is none.

        Cancellation leaves the terminal to be restored by its owner.
        """
        assert self._wish.log_in is not None, "there is a login"
        self._silence.over(WindowSize(*self._size))
        line: Line | None = None
        said = "trioet: logged in"
        async with self._screen.held():
            with self._console.lent():
                self._console.notice(f"\ntrioet: ssh logs in to {self._wish.host}")
                try:
                    line = await self._wish.log_in()
                except TrioetError as error:
                    said = f"trioet: {error}"
        self._console.notice(said)
        return line

    # The window, and what happens around us

    def _send_size(self) -> None:
        self.link.send(PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(*self._size)))

    def _window_changed(self, size: tuple[int, int, int, int]) -> None:
        if size != self._size:
            self._size = size
            self._send_size()

    def _line_changed(self) -> None:
        self._liveness.line_changed()
        self.reconnector.line_changed()
        self._silence.line_changed()
        self._routes.follow(self.link.lines)
        if not self.link.attached:
            self._silence.suspected()
        self.on_line_change()

    def _suspect(self) -> None:
        self._silence.suspected()
        self.reconnector.suspect()

    def _network_changed(self) -> None:
        self._liveness.probe(moved=self._routes.moved())
        self.reconnector.network_changed()

    def _resumed(self) -> None:
        """Machine or process slept: what lies between may have forgotten us meanwhile."""
        self._liveness.probe(moved=True)
        self.reconnector.network_changed()


def _rhythm(keepalive_s: float | None, *, quiet: bool) -> Rhythm:
    """How often to ask: as the user says, within what the server can bear."""
    if keepalive_s is None:
        return Rhythm(KEEPALIVE_S, LONGEST_S if quiet else KEEPALIVE_S)
    fixed = keepalive_s if quiet else min(keepalive_s, KEEPALIVE_S)
    return Rhythm(fixed, fixed)
