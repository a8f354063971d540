"""A running program as a session uses it: read until dry, write what fits, reap."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

import trio

from trioet.session.program import Running, set_window_size
from trioet.wire.messages import WindowSize

CHUNK: Final = 16 * 1024
"""Bytes of output in one packet at most. Bigger ones cost other sessions their latency:
a typist beside 16 floods waits 5 ms at 16 KiB, 37 ms at 64 KiB (measured)."""

FULL_READ: Final = 4 * 1024
SHORT: Final = 1024
"""A read that brought less than this has probably brought all there is."""

LAST_OUTPUT_S: Final = 0.5
"""After the program ended, how long its last output may take to come through the pty."""

HANGUP_GRACE_S: Final = 5.0
"""From SIGHUP to SIGKILL, when a session is ended from outside."""


class Shell:
    """A program and our ends of its pty, or pipes. Owns the descriptors and the child."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._output = _Drain(running.stdout)
        self._errors = None if running.stderr is None else _Drain(running.stderr)
        self._pidfd = os.pidfd_open(running.pid)
        self._status: int | None = None
        self._stdin_open = True
        self._open = True
        self._hangup = signal.SIGHUP, HANGUP_GRACE_S

    def __repr__(self) -> str:
        return f"<Shell pid={self._running.pid} status={self._status}>"

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def terminal(self) -> int | None:
        """The master side of the pty; None on pipes."""
        return self._running.stdout if self._running.stderr is None else None

    @property
    def has_stderr(self) -> bool:
        """True on pipes: there is a stderr to read."""
        return self._errors is not None

    async def read_output(self) -> bytes:
        """Return all output that is there, up to CHUNK bytes; b"" at its end.

        Others get their turn first, however much there is. Cancellation loses nothing.
        """
        return await self._output.read()

    async def read_stderr(self) -> bytes:
        """The same for stderr, on pipes."""
        assert self._errors is not None
        return await self._errors.read()

    def write_nowait(self, data: bytes | bytearray) -> int:
        """Hand input over without waiting; return how many bytes were taken.

        Input for a program that no longer reads is taken, and lost, as on a terminal.
        """
        if not self._stdin_open:
            return len(data)
        try:
            return os.write(self._running.stdin, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    async def wait_writable(self) -> None:
        """Wait until the program may take input again. Cancellation changes nothing."""
        with suppress(OSError, trio.ClosedResourceError):
            await trio.lowlevel.wait_writable(self._running.stdin)

    def end_input(self) -> None:
        """No more input will come. On a terminal that is Ctrl-D; on pipes, a close."""
        if not self._stdin_open:
            return
        if self.terminal is not None:
            self.write_nowait(b"\x04")
            return
        self._stdin_open = False
        trio.lowlevel.notify_closing(self._running.stdin)
        os.close(self._running.stdin)

    def resize(self, size: WindowSize) -> None:
        """Tell the programs on the terminal its new size."""
        if self.terminal is not None:
            with suppress(OSError):
                set_window_size(self.terminal, size)

    async def wait(self) -> int:
        """Wait for the program; return its exit status, negative for a signal.

        Cancellation changes nothing.
        """
        while self._status is None:
            await trio.lowlevel.wait_readable(self._pidfd)
            self._reap()
        return self._status

    def _reap(self) -> None:
        _, status = os.waitpid(self._running.pid, os.WNOHANG)
        self._status = os.waitstatus_to_exitcode(status)

    def hang_up_with(self, number: int, grace_s: float) -> None:
        """Send another signal than SIGHUP when it is ended, and another while later SIGKILL."""
        self._hangup = signal.Signals(number), grace_s

    def hang_up(self) -> None:
        """Send SIGHUP to the program's session, as a lost terminal does."""
        self._kill(self._hangup[0])

    def _kill(self, number: signal.Signals) -> None:
        if self._status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._running.pid, number)

    async def aclose(self) -> None:
        """Hang up, wait for the end for a while, then kill. Shielded, and bounded."""
        with trio.CancelScope(shield=True):
            number, grace_s = self._hangup
            if number is signal.SIGHUP:
                self._close_descriptors()  # which is one already
            self.hang_up()
            with trio.move_on_after(grace_s):
                await self.wait()
            self._close_descriptors()
            self._kill(signal.SIGKILL)
            await self.wait()
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1

    def _close_descriptors(self) -> None:
        if not self._open:
            return
        self._open = False
        descriptors = {self._running.stdout, self._running.stderr}
        if self._stdin_open:
            descriptors.add(self._running.stdin)
        self._stdin_open = False
        for descriptor in descriptors - {None}:
            assert descriptor is not None
            trio.lowlevel.notify_closing(descriptor)
            os.close(descriptor)


class _Drain:
    """One stream of output: read until it is dry, never more than CHUNK bytes at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dry = True

    async def read(self) -> bytes:
        if not self._dry:
            await trio.lowlevel.checkpoint()
        parts: list[bytes] = []
        size = 0
        # The kernel gives 4095 bytes of a pty at once: stop where another such read might
        # not fit, and after a short one, so that an echo goes out before a read in vain.
        while size <= CHUNK - FULL_READ:
            try:
                if self._dry:
                    await trio.lowlevel.wait_readable(self._descriptor)
                    self._dry = False
                part = os.read(self._descriptor, CHUNK - size)
            except trio.ClosedResourceError:
                return b""
            except BlockingIOError:
                self._dry = True
                if parts:
                    break
                continue
            except OSError:  # EIO: nobody holds the pty's other side any more
                break
            if not part:
                break
            parts.append(part)
            size += len(part)
            if len(part) < SHORT:
                self._dry = True
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)
