"""A way to the server through ssh itself: only sshd's port need be open.

A child `ssh -W` opens a channel to the server's port, and where sshd forbids that, `ssh` runs
`trioet stdio` there. Nobody is asked anything: keys, agent and a ControlMaster serve as they
did for the first login. What ssh complains of is kept for the reason why it failed, and never
seen on a screen that shows something else.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from trioet.bootstrap.child import Child
from trioet.bootstrap.openssh import wait_ended
from trioet.bootstrap.plain import plain
from trioet.bootstrap.remote_command import EXIT_MISSING, NOBODY, STDIO_READY, stdio_command
from trioet.bootstrap.spawn import SshTarget, above_streams, ssh_channel_argv
from trioet.errors import TrioetError
from trioet.link.greeted import GreetedLine
from trioet.link.line import NOTSENT_LOWAT, RECEIVE_SIZE
from trioet.link.slow_dial import SlowDial

ALONE_AFTER_S: Final = 4.0
"""Without an answer for so long, an ssh that shares no connection is started beside: the
network of the one that is shared may be gone, which it is the last to notice."""

ENDING_GRACE_S: Final = 0.5
"""How long ssh may take to end after SIGTERM, before SIGKILL."""

MAX_NOISE: Final = 1024 * 1024
"""Bytes that start-up files may print before `trioet stdio` speaks."""

MAX_REASON: Final = 200
"""Characters of ssh's last words that are shown."""

FORBIDDEN: Final = ("prohibited", "forwarding failed", "forwarding request failed")
UNREACHABLE: Final = "connect failed"
"""What ssh says of a channel that sshd does not open because it may not, and because nobody
listens at its end (clientloop.c, mux.c; both are said of the latter)."""

DENIED: Final = "Permission denied ("


class SshFailed(TrioetError):
    """ssh opened no channel to the server; says why, in a few words."""


class SshNeedsUser(SshFailed):
    """ssh would have to ask something."""


class SshWay:
    """Dials through ssh. :meth:`run` must be running: it owns the children."""

    def __init__(
        self,
        target: SshTarget,
        ports: Sequence[int],
        greeting: bytes,
        terminal_path: str | None = None,
    ) -> None:
        """``ports`` are the server's, on its own machine; the first that somebody listens at is
        taken. ``greeting`` is the link's first words."""
        self._target = target
        self._ports = ports
        self._greeting = greeting
        self._terminal_path = terminal_path
        self._forbidden = False
        self._children: trio.Nursery | None = None
        self._slow = SlowDial(self._dial)
        self.dial = self._slow.dial
        self.wake = self._slow.wake

    def __repr__(self) -> str:
        return f"<SshWay {self._target.host} ports={self._ports} stdio={self._forbidden}>"

    async def run(self) -> None:
        """Dial when asked, until cancelled; then every child has ended."""
        async with trio.open_nursery() as nursery:
            self._children = nursery
            await self._slow.run()

    async def _dial(self) -> GreetedLine:
        opened: list[GreetedLine] = []
        errors: list[SshFailed] = []
        failed = trio.Event()
        try:
            async with trio.open_nursery() as nursery:

                async def attempt(*, shared: bool) -> None:
                    try:
                        opened.append(await self._open(shared=shared))
                    except SshFailed as error:
                        errors.append(error)
                        failed.set()
                    else:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(partial(attempt, shared=True))
                with trio.move_on_after(ALONE_AFTER_S) as patience:
                    await failed.wait()
                if patience.cancelled_caught:
                    nursery.start_soon(partial(attempt, shared=False))
        except BaseException:
            for line in opened:
                line.close()
            raise
        for line in opened[1:]:
            line.close()
        if not opened:
            raise errors[0]
        return opened[0]

    async def _open(self, *, shared: bool) -> GreetedLine:
        failure: SshFailed | None = None
        for port in self._ports:
            try:
                return await self._open_port(port, shared=shared)
            except _NobodyThere as error:
                failure = failure or error
        assert failure is not None, "there is a port"
        raise failure

    async def _open_port(self, port: int, *, shared: bool) -> GreetedLine:
        if not self._forbidden:
            argv = ssh_channel_argv(self._target, port=port, shared=shared)
            try:
                return await self._start(argv, b"")
            except _Forbidden:
                self._forbidden = True
        command = stdio_command(port, terminal_path=self._terminal_path)
        argv = ssh_channel_argv(self._target, command=command, shared=shared)
        return await self._start(argv, STDIO_READY)

    async def _start(self, argv: Sequence[str], ready: bytes) -> GreetedLine:
        """Start ssh; return its channel once the server at the end has answered.

        Cancellation ends it.
        """
        assert self._children is not None, "run() comes first"
        channel = _Channel(argv)
        self._children.start_soon(channel.run)
        try:
            answer = await channel.greet(ready, self._greeting)
        except BaseException:
            channel.close()
            raise
        name = f"{self._target.host} over ssh"
        return _SshLine(channel, self._greeting, answer, name)


class _Forbidden(SshFailed):
    """sshd does not forward to there."""


class _NobodyThere(SshFailed):
    """Nobody listens at the port."""


class _Channel:
    """A child ssh, and our end of the socket that is its stdin and stdout."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.socket, its = socket.socketpair()
        its = socket.socket(fileno=above_streams(its.detach()))
        # No larger than what else a line hands over and cannot take back; Linux doubles it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * NOTSENT_LOWAT)
        self.socket.setblocking(False)
        # A file, because whoever keeps it open when ssh has ended keeps nobody waiting.
        self._complaints = above_streams(os.memfd_create("ssh-stderr"))
        try:
            with its:
                self._process = Child(argv, (its.fileno(), its.fileno(), self._complaints))
        except OSError as error:
            self.socket.close()
            os.close(self._complaints)
            raise SshFailed(f"cannot run {argv[0]}: {error.strerror}") from error
        self._closed = trio.Event()
        self._ended = trio.Event()

    async def run(self) -> None:
        """Wait for the child's end; end it when closed, or on cancellation."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait)
                await self._closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                for number in (signal.SIGTERM, signal.SIGKILL):
                    self._process.send_signal(number)
                    with trio.move_on_after(ENDING_GRACE_S):
                        await wait_ended(self._process)
                        break
            self._ended.set()
            os.close(self._complaints)

    async def _wait(self) -> None:
        await wait_ended(self._process)
        self._ended.set()

    def close(self) -> None:
        """End the child, soon. Idempotent."""
        self.socket.close()
        self._closed.set()

    async def greet(self, ready: bytes, greeting: bytes) -> bytes:
        """Wait for ``ready``, if any, say ``greeting`` and return what is answered.

        Raises:
          SshFailed: the channel did not open, or ended.
        """
        noise = b""
        ours = trio.socket.from_stdlib_socket(self.socket)
        while ready and ready not in noise:
            data = await self._receive(ours)
            if not data or len(noise) > MAX_NOISE:
                raise await self._failure()
            noise += data
        try:
            await ours.send(greeting)
        except OSError:
            raise await self._failure() from None
        answer = noise.partition(ready)[2] if ready else b""
        answer = answer or await self._receive(ours)
        if not answer:
            raise await self._failure()
        return answer

    async def _receive(self, ours: trio.socket.SocketType) -> bytes:
        try:
            return await ours.recv(RECEIVE_SIZE)
        except ConnectionError:
            return b""

    async def _failure(self) -> SshFailed:
        with trio.move_on_after(ENDING_GRACE_S):
            await self._ended.wait()
        status = self._process.poll()
        if status == EXIT_MISSING:
            return SshFailed("sshd forbids to forward, and there is no trioet to do it instead")
        return _explained(self._last_words(), status)

    def _last_words(self) -> list[str]:
        said = os.pread(self._complaints, 4 * MAX_NOISE, 0) if not self._closed.is_set() else b""
        return [line for line in (plain(line) for line in said.splitlines()) if line]


def _explained(said: list[str], status: int | None) -> SshFailed:
    everything = "\n".join(said)
    if DENIED in everything:
        methods = everything.rpartition(DENIED)[2].partition(")")[0]
        return SshNeedsUser(f"ssh would have to ask you ({methods})")
    if UNREACHABLE in everything:
        reason = everything.partition(UNREACHABLE)[2].partition("\n")[0]
        return _NobodyThere(f"nothing answers at its port there{reason.lower()}")
    if any(words in everything for words in FORBIDDEN):
        return _Forbidden(said[-1])
    if NOBODY in everything:
        return _NobodyThere(said[-1][-MAX_REASON:])
    if said:
        return SshFailed(said[-1][-MAX_REASON:])
    if status in (None, 0):
        return SshFailed("the server closed the connection")
    return SshFailed(f"ssh ended with exit status {status}")


class _SshLine(GreetedLine):
    """A line over a channel; closing it ends its ssh."""

    def __init__(self, channel: _Channel, greeting: bytes, answer: bytes, peer_name: str) -> None:
        super().__init__(channel.socket, greeting, answer, peer_name)
        self._channel = channel

    def close(self) -> None:
        super().close()
        self._channel.close()
