"""The one visit that the doctor pays to the far side, by the user's own ssh."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from trioet.bootstrap.spawn import SshTarget, ssh_argv
from trioet.doctor.far_report import FarReader, FarReport
from trioet.doctor.remote_check import LINES
from trioet.doctor.ssh_words import SshWords
from trioet.errors import StepFailed

CONNECT_TIMEOUT_S: Final = 10
"""ssh's ConnectTimeout, where the user has set none: the kernel's own is two minutes."""

LOGIN_DEADLINE_S: Final = 150.0
"""For passwords and second factors. sshd itself ends a login after 120 s (LoginGraceTime)."""

REPORT_DEADLINE_S: Final = 30.0
"""From login to the end of the report: start-up files, and the answers of keeper and router."""

WORDS_GRACE_S: Final = 1.0
"""How long ssh may take to say how it was let in, once it is known that it was."""

DRAIN_GRACE_S: Final = 0.5
"""How long output may still come once ssh has ended; a control master keeps stderr open."""

ENDING_GRACE_S: Final = 2.0
"""How long ssh may take to end by itself, and then after SIGTERM."""

CHUNK: Final = 65536


class Visit:
    """A running ssh, and what came of it so far. Its ``report`` may still grow."""

    def __init__(
        self,
        process: trio.Process,
        hostname: str,
        *,
        shows_words: bool = False,
        behind: bool = False,
    ) -> None:
        """``behind``: jumphosts are passed, whose words come as well."""
        self.process = process
        self.hostname = hostname
        self.words = SshWords(hostname, behind=behind)
        self.ended = False
        """It has ended, and all that it said has been read."""

        self._reader = FarReader()
        self._shows_words = shows_words
        self._has_output = False
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def report(self) -> FarReport:
        """What the far side has told so far."""
        return self._reader.report

    @property
    def logged_in(self) -> bool:
        """ssh was let in: it says so, or a control master's far side speaks already."""
        return self.words.login is not None or self._has_output

    async def login(self) -> bool:
        """Wait until ssh was let in, or has ended, or LOGIN_DEADLINE_S; was it let in?"""
        await self._until(lambda: self.logged_in, LOGIN_DEADLINE_S)
        # The far side may be heard before ssh's own words of how it was let in are read.
        await self._until(lambda: self.words.login is not None, WORDS_GRACE_S)
        return self.logged_in

    async def finished_report(self) -> FarReport:
        """Wait until the report is complete, or ssh has ended, or REPORT_DEADLINE_S."""
        await self._until(lambda: self.report.complete, REPORT_DEADLINE_S)
        return self.report

    async def _until(self, happened: Callable[[], bool], patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            while not (happened() or self.ended):
                await self._changed.park()

    async def run(self) -> None:
        """Read all that comes, until ssh has ended. Cancellation leaves it running."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, self.process.stdout, self._take_output)
            nursery.start_soon(self._read, self.process.stderr, self._take_words)
            await self.process.wait()
            nursery.cancel_scope.deadline = trio.current_time() + DRAIN_GRACE_S
        self.ended = True
        self._changed.unpark_all()

    def _take_output(self, data: bytes) -> None:
        self._has_output = True
        self._reader.feed(data)

    def _take_words(self, data: bytes) -> None:
        self.words.feed(data)
        if self._shows_words:
            with suppress(OSError):  # where nobody reads it
                os.write(2, data)

    async def _read(self, stream: trio.abc.ReceiveStream, take: Callable[[bytes], None]) -> None:
        while data := await stream.receive_some(CHUNK):
            take(bytes(data))
            self._changed.unpark_all()


@asynccontextmanager
async def visit(target: SshTarget, command: str, hostname: str) -> AsyncIterator[Visit]:
    """Start ssh; what it runs there has an open stdin for as long as the visit lasts.

    ssh asks for passwords on the terminal. At the end, and on cancellation, it is ended.

    Raises:
      StepFailed: there is no ssh program.
    """
    options = (*target.options, f"ConnectTimeout={CONNECT_TIMEOUT_S}")
    argv = ssh_argv(target._replace(verbose=max(1, target.verbose), options=options), command)
    try:
        process = await trio.lowlevel.open_process(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        what = f"cannot run {argv[0]}: {error.strerror}"
        raise StepFailed("ssh", what, "install OpenSSH's client: openssh-client") from error
    verbose, behind = target.verbose > 0, target.jumps is not None
    paid = Visit(process, hostname, shows_words=verbose, behind=behind)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paid.run)
            assert process.stdin is not None
            with suppress(trio.BrokenResourceError):
                await process.stdin.send_all(LINES)
            yield paid
            await process.stdin.aclose()
            with trio.move_on_after(ENDING_GRACE_S):
                await process.wait()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    """End it: politely, because ssh restores the terminal then; then not."""
    for end in (process.terminate, process.kill):
        if process.poll() is None:
            end()
            with trio.move_on_after(ENDING_GRACE_S):
                await process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()
