"""Drive a program on a real pty, as a person at a terminal would."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

PATIENCE_S = 60.0


class Person:
    """Types and reads at a terminal on which a program runs."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.seen = b""

    async def type(self, text: bytes) -> None:
        """Type, however long it takes the terminal to accept it."""
        while text:
            await trio.lowlevel.wait_writable(self._master)
            text = text[os.write(self._master, text) :]

    async def read_some(self) -> bytes:
        """Return what is newly on the screen; b"" when the program has gone."""
        await trio.lowlevel.wait_readable(self._master)
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return b""
        self.seen += data
        return data

    async def until(self, text: bytes) -> bytes:
        """Read until ``text`` shows; return everything before it, and forget both."""
        try:
            with trio.fail_after(PATIENCE_S):
                while text not in self.seen:
                    if not await self.read_some():
                        raise AssertionError(f"ended without {text!r}; seen: {self.seen[-2000:]!r}")
        except trio.TooSlowError:
            raise AssertionError(f"no {text!r} came; seen: {self.seen[-2000:]!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    async def run(self, command: bytes) -> bytes:
        """Type a shell command; return what it prints."""
        await self.type(b"echo BE''GIN; " + command + b"; echo EN''D\n")
        await self.until(b"BEGIN\r\n")
        return await self.until(b"END\r\n")

    async def end(self) -> int:
        """Read to the end; return the exit status."""
        with trio.fail_after(PATIENCE_S):
            while await self.read_some():
                pass
            return await trio.to_thread.run_sync(self.process.wait)

    def resize(self, rows: int, columns: int) -> None:
        """Drag the window to another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close_window(self) -> None:
        """Close the terminal: what runs there is told by SIGHUP, and can write no more."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._master, inheritable=False)
        os.close(nothing)

    def mode(self) -> list[object]:
        """The terminal's settings, to be compared."""
        return termios.tcgetattr(self._master)


@asynccontextmanager
async def at_terminal(
    argv: Sequence[str], env: Mapping[str, str], rows: int = 24, columns: int = 80
) -> AsyncIterator[Person]:
    """Start a program on a pty of its own; end it with the context."""
    master, process = _start(argv, env, rows, columns)
    try:
        yield Person(master, process)
    finally:
        trio.lowlevel.notify_closing(master)
        os.close(master)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(
    argv: Sequence[str], env: Mapping[str, str], rows: int, columns: int
) -> tuple[int, subprocess.Popen[bytes]]:
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.set_blocking(master, False)
    # The shell opens the slave, which makes it the controlling terminal of its session.
    command = ["/bin/sh", "-c", ': <>"$0"; exec "$@"', os.ttyname(slave), *argv]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=dict(env)
    )
    os.close(slave)
    return master, process
