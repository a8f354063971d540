"""What a session of `trioet pipe` is for: one channel between stdin, stdout and a place there.

The near side of a channel is a socket, so stdin and stdout are copied to and from one end of a
pair; its short buffers pass back-pressure and both ends of stream on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.client.console import Console
from trioet.client.tunnels import NUMBERS_OF_LOOPBACK
from trioet.errors import LocalError, NobodyReads, StepFailed
from trioet.session.channel import Channel, Traffic
from trioet.session.destinations import CannotReach, reset
from trioet.session.forwards import Forwards
from trioet.wire.forward import Address

CHUNK: Final = 64 * 1024

GONE_S: Final = 2.0
"""When nobody reads stdout any more: how long the other side may take to end by itself, having
heard all that was said. An sshd does at once; what does not is reset."""

SHORT: Final = 1024
"""Who says no more than so many bytes at once is likely to wait for an answer: a keystroke of
ssh's has 36 or 44, its keepalive 84 at most."""


class Pipe:
    """Copies stdin to a place on the other side, and what comes from there to stdout."""

    def __init__(self, console: Console, host: str, destination: Address) -> None:
        """``host`` is who connects to ``destination``, for messages."""
        self._console = console
        self._host = host
        self._destination = destination
        self._scope = trio.CancelScope()
        self._failure: StepFailed | None = None
        """Why the output could not be written."""
        self.begun = False
        self.on_question: Callable[[], None] = lambda: None
        """Called when something was said that is probably waited for an answer to."""

    def __repr__(self) -> str:
        return f"<Pipe {self._host} {self._destination}>"

    def stop(self) -> None:
        """Leave off. Idempotent."""
        self._scope.cancel()

    async def carry(self, forwards: Forwards) -> None:
        """Copy until both directions have ended, nobody reads stdout, or :meth:`stop`.

        Cancellation resets the connection on the other side when the session ends.

        Raises:
          StepFailed: the place cannot be reached, or the connection to it was reset, or the
              output cannot be written.
        """
        self._check_reachable(forwards)
        self.begun = True
        ours, its = socket.socketpair()
        its.setblocking(False)
        channel = Channel(forwards.new_number(), its, forwards, Traffic(f"{self._destination}"))
        try:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as near:
                with self._scope:
                    await self._copy(forwards, channel, near)
        finally:
            reset(its)  # of no effect where it was closed in order
        if self._failure is not None:
            raise self._failure

    async def _copy(self, forwards: Forwards, channel: Channel, near: trio.SocketStream) -> None:
        shown_all = trio.Event()
        failure: CannotReach | None = None  # carried out, not thrown: a nursery would wrap it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_reader, channel)
            nursery.start_soon(self._up, near)
            nursery.start_soon(self._down, near, shown_all)
            try:
                await forwards.open_and_run(channel, 0, self._destination)
            except CannotReach as error:
                failure = error
            else:
                await shown_all.wait()
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise self._unreachable(failure)
        if not channel.in_order:
            what = f"the connection from {self._host} to {self._destination} was reset"
            raise StepFailed("pipe", what)

    async def _up(self, near: trio.SocketStream) -> None:
        try:
            while data := await self._console.read(CHUNK):
                await near.send_all(data)
                if len(data) <= SHORT:
                    self.on_question()
            await near.send_eof()
        except trio.BrokenResourceError:
            pass  # the channel is over, and says why

    async def _down(self, near: trio.SocketStream, shown_all: trio.Event) -> None:
        try:
            async for data in near:
                await self._console.write(data)
        except trio.BrokenResourceError:
            pass  # as above
        except NobodyReads:
            await self._listen_in_vain(near)
        except LocalError as error:
            self._failure = StepFailed("pipe", str(error))
            self._scope.cancel()
        self._console.end_output()
        shown_all.set()

    async def _listen_in_vain(self, near: trio.SocketStream) -> None:
        """Whoever reads stdout is gone, and may have said something just before."""
        with trio.move_on_after(GONE_S) as patience, suppress(trio.BrokenResourceError):
            async for _ in near:
                pass
        if patience.cancelled_caught:
            self._scope.cancel()

    async def _watch_reader(self, channel: Channel) -> None:
        """ssh does not wait for its ProxyCommand, and need not tell it that it goes."""
        await self._console.wait_nobody_reads()
        await channel.said_all.wait()
        await trio.sleep(GONE_S)
        self._scope.cancel()

    def _check_reachable(self, forwards: Forwards) -> None:
        if not forwards.credit and self._destination.host not in NUMBERS_OF_LOOPBACK:
            raise StepFailed(
                "pipe",
                f"{self._host} has a real Eternal Terminal server, which connects to nothing but "
                f"its own localhost, not to {self._destination.host}",
                f"`trioet install {self._host}` puts one there that does",
            )

    def _unreachable(self, error: CannotReach) -> StepFailed:
        return StepFailed(
            "pipe",
            f"{self._host} cannot reach {self._destination}: {error}",
            "the name is looked up and the connection made there, not here",
        )
