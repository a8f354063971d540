"""A channel through the user's own ssh: a child that has it on stdin and stdout.

What ssh complains of is kept for the reason why it failed, and never seen on a screen that
shows something else.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Final

import trio

from trioet.bootstrap.child import Child
from trioet.bootstrap.openssh import wait_ended
from trioet.bootstrap.plain import plain
from trioet.bootstrap.spawn import SshTarget, above_streams, ssh_channel_argv
from trioet.bootstrap.ssh_channel import End, Manner, SshFailed, channel_sockets, explained

ENDING_GRACE_S: Final = 0.5
"""How long ssh may take to end after SIGTERM, before SIGKILL."""

MAX_COMPLAINTS: Final = 64 * 1024
"""Bytes of what ssh says that are looked at."""


class SshChild:
    """A child `ssh`, and our end of the socket that is its stdin and stdout."""

    def __init__(self, target: SshTarget, end: End, manner: Manner) -> None:
        """Start it.

        Raises:
          SshFailed: there is no ssh program.
        """
        argv = ssh_channel_argv(target, *end, **manner._asdict())
        self.socket, its = channel_sockets()
        # A file, because whoever keeps it open when ssh has ended keeps nobody waiting.
        self._complaints = above_streams(os.memfd_create("ssh-stderr"))
        try:
            with socket.socket(fileno=above_streams(its.detach())) as its:
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
            os.close(self._complaints)

    async def _wait(self) -> None:
        await wait_ended(self._process)
        self._ended.set()

    def close(self) -> None:
        """End the child, soon. Idempotent."""
        self.socket.close()
        self._closed.set()

    async def failure(self) -> SshFailed:
        """Why it has ended. Not to be asked after :meth:`close`."""
        with trio.move_on_after(ENDING_GRACE_S):
            await self._ended.wait()
        said = os.pread(self._complaints, MAX_COMPLAINTS, 0).splitlines()
        lines = [text for text in map(plain, said) if text]
        return explained(lines, self._process.poll())
