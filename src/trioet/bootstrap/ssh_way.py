"""A way to the server through ssh itself: only sshd's port need be open.

ssh opens a channel to the server's port, and where sshd forbids that, runs `trioet stdio`
there. Nobody is asked anything: keys, agent and a ControlMaster serve as they did for the
first login.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from trioet.bootstrap.remote_command import STDIO_READY, stdio_command
from trioet.bootstrap.ssh_channel import (
    Channel,
    End,
    Forbidden,
    Manner,
    NobodyThere,
    OpenChannel,
    SshFailed,
    SshNeedsUser,
    greet,
)
from trioet.link.greeted import GreetedLine
from trioet.link.line import Line
from trioet.link.slow_dial import SlowDial

ALONE_AFTER_S: Final = 4.0
"""Without an answer for so long, an ssh that shares no connection is started beside: the
network of the one that is shared may be gone, which it is the last to notice."""


LOGIN_DEADLINE_S: Final = 120.0
"""For a login with questions; sshd itself allows no more."""


class SshWay:
    """Dials through ssh. :meth:`run` must be running: it owns the channels."""

    def __init__(
        self,
        host: str,
        open_channel: OpenChannel,
        ports: Sequence[int],
        greeting: bytes,
        terminal_path: str | None = None,
    ) -> None:
        """``host`` is for people. ``ports`` are the server's, on its own machine; the first that
        somebody listens at is taken. ``greeting`` is the link's first words."""
        self._host = host
        self._open_channel = open_channel
        self._ports = ports
        self._greeting = greeting
        self._terminal_path = terminal_path
        self.needs_user = False
        """The last dial failed because ssh would have had to ask the user."""
        self._forbidden = False
        self._channels: trio.Nursery | None = None
        self._slow = SlowDial(self._dial)
        self.on_ask: Callable[[], None] = lambda: None
        """Called before the server is asked for the session."""
        self.dial = self._slow.dial
        self.wake = self._slow.wake

    def __repr__(self) -> str:
        return f"<SshWay {self._host} ports={self._ports} stdio={self._forbidden}>"

    async def run(self) -> None:
        """Dial when asked, until cancelled; then every channel is closed."""
        async with trio.open_nursery() as nursery:
            self._channels = nursery
            await self._slow.run()

    async def log_in(self) -> Line:
        """Open a channel, and let ssh ask the user meanwhile: the terminal must be its own.

        Cancellation ends it, and leaves the terminal as it was.

        Raises:
          SshFailed: there is no channel; says why.
        """
        try:
            with trio.move_on_after(LOGIN_DEADLINE_S):
                return await self._open(Manner(asks=True))
        except SshNeedsUser as error:
            raise SshFailed(f"ssh was not let in ({error.methods})") from error
        raise SshFailed(f"nobody was logged in within {LOGIN_DEADLINE_S:g} s")

    async def _dial(self) -> GreetedLine:
        opened: list[GreetedLine] = []
        errors: list[SshFailed] = []
        failed = trio.Event()
        try:
            async with trio.open_nursery() as nursery:

                async def attempt(manner: Manner) -> None:
                    try:
                        opened.append(await self._open(manner))
                    except SshFailed as error:
                        errors.append(error)
                        failed.set()
                    else:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(attempt, Manner())
                with trio.move_on_after(ALONE_AFTER_S) as patience:
                    await failed.wait()
                if patience.cancelled_caught:
                    nursery.start_soon(attempt, Manner(shared=False))
        except BaseException:
            for line in opened:
                line.close()
            raise
        for line in opened[1:]:
            line.close()
        self.needs_user = not opened and isinstance(errors[0], SshNeedsUser)
        if not opened:
            raise errors[0]
        return opened[0]

    async def _open(self, manner: Manner) -> GreetedLine:
        failure: SshFailed | None = None
        for port in self._ports:
            try:
                return await self._open_port(port, manner)
            except NobodyThere as error:
                failure = failure or error
        assert failure is not None, "there is a port"
        raise failure

    async def _open_port(self, port: int, manner: Manner) -> GreetedLine:
        if not self._forbidden:
            try:
                return await self._start(End(port), b"", manner)
            except Forbidden:
                self._forbidden = True
        end = End(port, stdio_command(port, terminal_path=self._terminal_path))
        return await self._start(end, STDIO_READY, manner)

    async def _start(self, end: End, ready: bytes, manner: Manner) -> GreetedLine:
        """Open a channel; return it once the server at its end has answered.

        Cancellation closes it.
        """
        assert self._channels is not None, "run() comes first"
        channel = self._open_channel(end, manner)
        self._channels.start_soon(channel.run)
        self.on_ask()
        try:
            answer = await greet(channel, ready, self._greeting)
        except BaseException:
            channel.close()
            raise
        return _SshLine(channel, self._greeting, answer, f"{self._host} over ssh")


class _SshLine(GreetedLine):
    """A line over a channel; closing it closes that."""

    def __init__(self, channel: Channel, greeting: bytes, answer: bytes, peer_name: str) -> None:
        super().__init__(channel.socket, greeting, answer, peer_name)
        self._channel = channel

    def close(self) -> None:
        super().close()
        self._channel.close()
