"""The local terminal, or the pipes and files in its place.

Descriptors are not made non-blocking where another process shares them: a terminal or pipe
is opened a second time instead, which gives us a description of our own, and a socket is
asked not to wait with each call. Only where the system allows neither is the shared flag
set, and put back before anyone else can run into it. Reads and writes happen in the task
that wants them, without threads, for the sake of a key's echo.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, TypeAlias

import trio

from trioet.errors import LocalError, NobodyReads

Size: TypeAlias = tuple[int, int, int, int]
"""Rows, columns, and pixels across and down (0 where unknown)."""

DEFAULT_SIZE: Final[Size] = (24, 80, 0, 0)

NO_SIGNAL: Final = b"\0"
"""_POSIX_VDISABLE: no key makes that signal."""

MOMENT_MS: Final = 1
"""What a terminal that keeps up may take before it asks for more."""


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

    @property
    def is_tty_told(self) -> bool:
        """True when what :meth:`notice` says goes to a terminal."""
        return os.isatty(2)

    @property
    def is_raw(self) -> bool:
        """True while every key is passed on."""
        return self._raw

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
                return self._source.read(max_bytes)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def write_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Write what can be written now; return how many bytes that was.

        Raises:
          NobodyReads: the terminal, or whoever read the pipe, is gone.
          LocalError: it cannot be written for another reason, as a full disk.
        """
        try:
            return self._sink.write(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _not_written(error) from error

    async def write(self, data: bytes | bytearray) -> None:
        """Write all of it. Cancellation leaves a beginning written, nobody knows how much:
        who must know uses :meth:`write_nowait` and :meth:`wait_writable`.

        Raises:
          NobodyReads: the terminal, or whoever read the pipe, is gone.
          LocalError: it cannot be written for another reason, as a full disk.
        """
        rest = memoryview(data)
        while rest:
            await self._sink.wait_writable()
            rest = rest[self.write_nowait(rest) :]

    async def wait_writable(self) -> None:
        """Wait until something can be written. Cancellation changes nothing."""
        await self._sink.wait_writable()

    def takes_more(self) -> bool:
        """Whether something can be written within MOMENT_MS; nothing else is done meanwhile.

        A terminal takes 8 KiB at a time, and one that keeps up asks for more within
        microseconds: to wait for it here costs a third of what it costs to let others run.
        """
        return bool(self._sink.poll.poll(MOMENT_MS))

    def end_output(self) -> None:
        """Nothing more will be written: whoever reads it is told, also while this process lives."""
        self._sink.end()

    def end_notices(self) -> None:
        """Nothing more is told to the user: who has caught stderr need not wait for our end."""
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)

    async def wait_nobody_reads(self) -> None:
        """Return when nobody reads the output any more; never where that cannot be known.

        Cancellation changes nothing.
        """
        await self._sink.wait_gone()

    def notice(self, text: str, *, end: str = "\n") -> None:
        """Tell the user something, on stderr."""
        text = text.rstrip("\r\n").replace("\r\n", "\n") + end
        newline = "\r\n" if self._raw and self.is_tty_told else "\n"
        with suppress(OSError):
            os.write(2, text.replace("\n", newline).encode(errors="replace"))

    def enter_raw(self) -> None:
        """Make the terminal pass every key on, as ssh does."""
        if self._cooked is None:
            return
        try:
            termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, _raw(self._cooked))
        except termios.error as error:
            raise LocalError("the terminal is gone") from error
        self._raw = True

    def enter_line_mode(self, *, interrupts: bool = False) -> None:
        """Have the terminal itself edit a line, and echo it.

        Ctrl-C is a key like others, or ``interrupts`` whoever runs at the terminal; nothing
        else that is typed makes a signal.
        """
        if self._cooked is not None:
            mode = list(self._cooked)
            lflag, characters = mode[3], mode[6]
            assert isinstance(lflag, int)
            assert isinstance(characters, list)
            if interrupts:
                mode[6] = characters = list(characters)
                characters[termios.VSUSP] = characters[termios.VQUIT] = NO_SIGNAL
            mode[3] = lflag | termios.ISIG if interrupts else lflag & ~termios.ISIG
            with suppress(termios.error):
                termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, mode)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Another program asks at the terminal: Ctrl-C ends that, and not us."""
        before = signal.getsignal(signal.SIGINT)
        heeded = self._cooked is not None and before is not signal.SIG_IGN
        if heeded:
            # No SIG_IGN: the other program would inherit that.
            signal.signal(signal.SIGINT, lambda _number, _frame: None)
        self.enter_line_mode(interrupts=True)
        try:
            yield
        finally:
            self.leave_line_mode()
            if heeded:
                signal.signal(signal.SIGINT, before)

    def leave_line_mode(self) -> None:
        """Make it what it was before: raw, or the user's own."""
        if self._raw:
            self.enter_raw()
        elif self._cooked is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, self._cooked)

    def leave_raw(self) -> None:
        """Give the terminal back as it was."""
        if self._cooked is not None and self._raw:
            with suppress(termios.error):
                termios.tcsetattr(self._source.descriptor, termios.TCSADRAIN, self._cooked)
            self._raw = False

    def suspend(self) -> None:
        """Stop our process group as Ctrl-Z would; return when it is continued."""
        self.leave_raw()
        self._source.give_back()
        self._sink.give_back()
        os.kill(0, signal.SIGTSTP)
        self._source.take()
        self._sink.take()
        self.enter_raw()

    def continued(self) -> None:
        """Take the terminal again after a stop that was not ours (SIGSTOP): the shell has
        put it into its own mode."""
        if self._raw:
            self.enter_raw()


class _End:
    """One end: how to read or write it, and whether waiting for it means anything."""

    def __init__(self, descriptor: int, access: int) -> None:
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            raise LocalError(f"file descriptor {descriptor} is not open") from error
        self.descriptor = self._given = descriptor
        self.is_tty = os.isatty(descriptor)
        self._waits = _can_be_waited_for(descriptor)
        self._own = -1
        self._socket: socket.socket | None = None
        self._flag_set = False
        self.poll = select.poll()
        if stat.S_ISSOCK(status.st_mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif self._waits and status.st_rdev != _PTMX:
            self._own = _open_again(descriptor, access)
            if self._own >= 0:
                self.descriptor = self._own
        self.poll.register(self.descriptor, select.POLLOUT)
        self.take()

    def take(self) -> None:
        """Make the shared description non-blocking, where there is no other way."""
        shared = self._waits and self._own < 0 and self._socket is None
        if shared and os.get_blocking(self.descriptor):
            os.set_blocking(self.descriptor, False)
            self._flag_set = True

    def give_back(self) -> None:
        """Make it blocking again."""
        if self._flag_set:
            os.set_blocking(self.descriptor, True)
            self._flag_set = False

    def read(self, max_bytes: int) -> bytes:
        if self._socket is not None:
            return self._socket.recv(max_bytes, socket.MSG_DONTWAIT)
        return os.read(self.descriptor, max_bytes)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self.descriptor, data)

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

    async def wait_gone(self) -> None:
        with select.epoll() as errors:
            try:
                errors.register(self.descriptor, 0)  # what is an error is told in any case
            except PermissionError:
                await trio.sleep_forever()
            await trio.lowlevel.wait_readable(errors)

    def end(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            return
        self.give_back()
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for descriptor in {self._given, self.descriptor}:
            os.dup2(nothing, descriptor)
        os.close(nothing)

    def close(self) -> None:
        self.give_back()
        if self._socket is not None:
            self._socket.close()
        if self._own >= 0:
            os.close(self._own)


_PTMX: Final = os.makedev(5, 2)
"""The master of a pseudo-terminal: opening it again would make another one."""


def _can_be_waited_for(descriptor: int) -> bool:
    """False for what epoll refuses and is always ready: regular files, /dev/null."""
    if sys.platform != "linux":
        return not stat.S_ISREG(os.fstat(descriptor).st_mode)
    with select.epoll() as poll:
        try:
            poll.register(descriptor)
        except PermissionError:
            return False
    return True


def _open_again(descriptor: int, access: int) -> int:
    """Open a terminal or pipe once more; -1 where that is not allowed (after su, say)."""
    flags = access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with suppress(OSError):
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    if os.isatty(descriptor):
        with suppress(OSError):
            return os.open(os.ttyname(descriptor), flags)
    return -1


@contextmanager
def open_console(
    stdin: int = 0, stdout: int = 1, *, raw: bool = True, reserved_rows: int = 0
) -> Iterator[Console]:
    """Take the terminal over, raw if keys come from one; give it back whatever happens.

    ``reserved_rows`` at the foot of the window are not counted in its size.

    Raises:
      LocalError: a descriptor is not open, or its terminal is gone.
    """
    with ExitStack() as stack:
        source = _End(stdin, os.O_RDONLY)
        stack.callback(source.close)
        sink = _End(stdout, os.O_WRONLY)
        stack.callback(sink.close)
        console = Console(source, sink, reserved_rows)
        stack.callback(console.leave_raw)
        if raw:
            console.enter_raw()
        yield console


async def watch_window_size(
    console: Console, on_change: Callable[[Size], None], on_continue: Callable[[], None]
) -> None:
    """Call ``on_change`` with the size whenever the window may have changed, until cancelled.

    That is at once, so that no change falls between, on SIGWINCH, and when we are continued
    after a stop: only the program in the foreground is told of changes. Then ``on_continue``
    is called as well.
    """
    with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT) as signals:
        on_change(console.window_size())
        async for number in signals:
            if number == signal.SIGCONT:
                console.continued()
            on_change(console.window_size())
            if number == signal.SIGCONT:
                on_continue()


def _not_written(error: OSError) -> LocalError:
    match error.errno:
        case errno.EIO:
            return NobodyReads("the terminal is gone")
        case errno.EPIPE | errno.ECONNRESET:
            return NobodyReads("nobody reads the output any more")
        case _:
            return LocalError(f"cannot write the output: {error.strerror}")


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
