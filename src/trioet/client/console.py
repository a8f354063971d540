"""The local terminal, or the pipes and files in its place.

Descriptors are never made non-blocking where another process shares them: a terminal or
pipe is opened a second time instead, which gives us a description of our own. Reads and
writes happen in the task that wants them, without threads, for the sake of a key's echo.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

import trio

from trioet.errors import LocalError

Size: TypeAlias = tuple[int, int, int, int]
"""Rows, columns, and pixels across and down (0 where unknown)."""

DEFAULT_SIZE: Final[Size] = (24, 80, 0, 0)


class Console:
    """Where keys come from and output goes. Made by :func:`open_console`."""

    def __init__(self, source: _End, sink: _End, reserved_rows: int = 0) -> None:
        self._source = source
        self._reserved_rows = reserved_rows
        self._sink = sink
        self._cooked = termios.tcgetattr(source.descriptor) if source.is_tty else None
        self._raw = False

    @property
    def is_tty_in(self) -> bool:
        """True when keys come from a terminal."""
        return self._source.is_tty

    @property
    def is_tty_out(self) -> bool:
        """True when output goes to a terminal."""
        return self._sink.is_tty

    def window_size(self) -> Size:
        """Return the size of the terminal; 24x80 without one."""
        for end in (self._sink, self._source):
            with suppress(OSError):
                packed = fcntl.ioctl(end.descriptor, termios.TIOCGWINSZ, bytes(8))
                rows, columns, across, down = struct.unpack("HHHH", packed)
                if rows and columns:
                    return max(1, rows - self._reserved_rows), columns, across, down
        return DEFAULT_SIZE

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return what was typed; b"" at the end, or when the terminal is gone.

        Cancellation loses nothing.
        """
        while True:
            await self._source.wait_readable()
            try:
                return os.read(self._source.descriptor, max_bytes)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def write_nowait(self, data: bytes) -> int:
        """Write what can be written now; return how many bytes that was.

        Raises:
          LocalError: the terminal, or whoever read the pipe, is gone.
        """
        try:
            return os.write(self._sink.descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LocalError(f"cannot write the output: {error.strerror}") from error

    async def write(self, data: bytes) -> None:
        """Write all of it. Cancellation leaves the beginning written.

        Raises:
          LocalError: the terminal, or whoever read the pipe, is gone.
        """
        rest = memoryview(data)
        while rest:
            await self._sink.wait_writable()
            rest = rest[self.write_nowait(bytes(rest)) :]

    def notice(self, text: str) -> None:
        """Tell the user something, on stderr."""
        text = text.rstrip("\r\n").replace("\r\n", "\n")
        end = "\r\n" if self._raw else "\n"
        with suppress(OSError):
            os.write(2, (text.replace("\n", end) + end).encode())

    def enter_raw(self) -> None:
        """Make the terminal pass every key on, as ssh does."""
        if self._cooked is None:
            return
        termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, _raw(self._cooked))
        self._raw = True

    def leave_raw(self) -> None:
        """Give the terminal back as it was."""
        if self._cooked is not None and self._raw:
            with suppress(termios.error):
                termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, self._cooked)
            self._raw = False

    def suspend(self) -> None:
        """Stop this program as Ctrl-Z would; return when it is continued."""
        self.leave_raw()
        os.kill(0, signal.SIGTSTP)
        self.enter_raw()


class _End:
    """One end: its descriptor, and whether waiting for it means anything."""

    def __init__(self, descriptor: int, *, writing: bool) -> None:
        self.is_tty = os.isatty(descriptor)
        self._shared_flags: int | None = None
        mode = os.fstat(descriptor).st_mode
        # epoll refuses regular files and /dev/null: these are always ready.
        self._waits = self.is_tty or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._reopened = -1
        self.descriptor = descriptor
        if self._waits:
            self._open_again(os.O_WRONLY if writing else os.O_RDONLY)

    def _open_again(self, access: int) -> None:
        access = os.O_RDWR if self.is_tty else access
        try:
            path = (
                os.ttyname(self.descriptor) if self.is_tty else f"/proc/self/fd/{self.descriptor}"
            )
            flags = access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            self._reopened = self.descriptor = os.open(path, flags)
        except OSError:  # a socket, or a terminal of another mount namespace
            self._shared_flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
            os.set_blocking(self.descriptor, False)

    async def wait_readable(self) -> None:
        if self._waits:
            await trio.lowlevel.wait_readable(self.descriptor)
        else:
            await trio.lowlevel.checkpoint()

    async def wait_writable(self) -> None:
        if self._waits:
            await trio.lowlevel.wait_writable(self.descriptor)
        else:
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if self._shared_flags is not None:
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, self._shared_flags)
        if self._reopened >= 0:
            os.close(self._reopened)


@contextmanager
def open_console(
    stdin: int = 0, stdout: int = 1, *, raw: bool = True, reserved_rows: int = 0
) -> Iterator[Console]:
    """Take the terminal over, raw if keys come from one; give it back whatever happens.

    ``reserved_rows`` at the foot of the window are not counted in its size.
    """
    source = _End(stdin, writing=False)
    sink = _End(stdout, writing=True)
    console = Console(source, sink, reserved_rows)
    try:
        if raw:
            console.enter_raw()
        yield console
    finally:
        console.leave_raw()
        source.close()
        sink.close()


async def watch_window_size(console: Console, on_change: Callable[[Size], None]) -> None:
    """Call ``on_change`` with the new size whenever the window changes, until cancelled."""
    if sys.platform == "win32":
        return
    with trio.open_signal_receiver(signal.SIGWINCH) as signals:
        async for _ in signals:
            on_change(console.window_size())


def _raw(cooked: list[int | list[bytes | int]]) -> list[int | list[bytes | int]]:
    """The mode ssh puts a terminal in: nothing interpreted, parity errors ignored."""
    mode = list(cooked)
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = mode
    assert isinstance(iflag, int)
    assert isinstance(oflag, int)
    assert isinstance(lflag, int)
    assert isinstance(characters, list)
    iflag |= termios.IGNPAR
    iflag &= ~(
        termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL
        | termios.IXON | termios.IXANY | termios.IXOFF
    )  # fmt: skip
    lflag &= ~(
        termios.ISIG | termios.ICANON | termios.ECHO | termios.ECHOE
        | termios.ECHOK | termios.ECHONL | termios.IEXTEN
    )  # fmt: skip
    oflag &= ~termios.OPOST
    characters = list(characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]
