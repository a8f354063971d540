"""The console on real ptys, pipes, sockets and files."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from descriptors import descriptors
from trioet.client.console import DEFAULT_SIZE, Console, Size, open_console, watch_window_size
from trioet.errors import LocalError


@dataclass
class Pty:
    """What a terminal emulator holds, and what it gives its programs."""

    master: int
    slave: int

    def resize(self, *size: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *size))

    def mode(self) -> list[object]:
        return list(termios.tcgetattr(self.slave))

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ECHO


@pytest.fixture
def pty() -> Iterator[Pty]:
    master, slave = os.openpty()
    yield Pty(master, slave)
    for descriptor in (master, slave):
        with suppress(OSError):  # a test may have closed it
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        with suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def null() -> Iterator[int]:
    descriptor = os.open("/dev/null", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


# The terminal's mode


def test_the_terminal_is_raw_inside_and_as_before_outside(pty: Pty) -> None:
    before = pty.mode()

    with open_console(pty.slave, pty.slave):
        iflag, oflag, cflag, lflag, _, _, characters = termios.tcgetattr(pty.slave)

    assert pty.mode() == before
    assert iflag & termios.IGNPAR
    assert not iflag & (termios.ICRNL | termios.INLCR | termios.IXON | termios.ISTRIP)
    assert not oflag & termios.OPOST
    assert cflag == before[2]
    assert not lflag & (termios.ISIG | termios.ICANON | termios.ECHO | termios.IEXTEN)
    assert [characters[termios.VMIN], characters[termios.VTIME]] in ([1, 0], [b"\x01", b"\x00"])


def test_an_exception_restores_the_terminal(pty: Pty) -> None:
    before = pty.mode()

    with suppress(KeyError), open_console(pty.slave, pty.slave):
        raise KeyError

    assert pty.mode() == before


async def test_cancellation_restores_the_terminal(pty: Pty) -> None:
    async def use() -> None:
        with open_console(pty.slave, pty.slave) as console:
            await console.read()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await wait_all_tasks_blocked()
        assert pty.is_raw()
        nursery.cancel_scope.cancel()

    assert not pty.is_raw()


def test_a_terminal_can_be_left_as_it_is(pty: Pty) -> None:
    with open_console(pty.slave, pty.slave, raw=False):
        assert not pty.is_raw()


def test_a_terminal_that_only_takes_output_is_left_as_it_is(pty: Pty, null: int) -> None:
    with open_console(null, pty.slave) as console:
        assert not pty.is_raw()
        assert (console.is_tty_in, console.is_tty_out) == (False, True)


def test_a_terminal_that_vanished_can_be_closed(pty: Pty) -> None:
    with open_console(pty.slave, pty.slave):
        os.close(pty.master)


def test_a_descriptor_that_is_not_open_is_named(null: int) -> None:
    closed = os.dup(null)
    os.close(closed)

    with pytest.raises(LocalError, match=f"descriptor {closed} is not open"), open_console(closed):
        pass
    with pytest.raises(LocalError, match="not open"), open_console(null, closed):
        pass


JOB = """
import os, sys, termios
from trioet.client.console import open_console
os.read(int(sys.argv[1]), 1)
with open_console() as console:
    console.suspend()
    sys.exit(10 if termios.tcgetattr(0)[3] & termios.ECHO else 11)
"""

SHELL = """
import os, signal, subprocess, sys, termios
tty = os.open(sys.argv[1], os.O_RDWR)
ready, go = os.pipe()
job = subprocess.Popen(
    [sys.executable, "-c", sys.argv[2], str(ready)],
    stdin=tty, stdout=tty, process_group=0, pass_fds=[ready],
)
os.tcsetpgrp(tty, job.pid)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.write(go, b".")
status = os.waitpid(job.pid, os.WUNTRACED)[1]
assert os.WIFSTOPPED(status), status
echo = bool(termios.tcgetattr(tty)[3] & termios.ECHO)
print(signal.Signals(os.WSTOPSIG(status)).name, echo, os.get_blocking(tty))
os.killpg(job.pid, signal.SIGCONT)
print(os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1]))
print(bool(termios.tcgetattr(tty)[3] & termios.ECHO))
"""


@pytest.mark.e2e
async def test_a_suspended_program_is_stopped_with_its_terminal_restored(pty: Pty) -> None:
    """Run under a shell with job control, without which nothing stops."""
    shell = [sys.executable, "-c", SHELL, os.ttyname(pty.slave), JOB]

    with trio.fail_after(20):
        result = await trio.run_process(shell, capture_stdout=True, start_new_session=True)

    assert result.stdout.decode().split("\n") == ["SIGTSTP True True", "11", "True", ""]


# Whose descriptions are whose


def test_no_shared_description_is_made_non_blocking(pty: Pty, pipe: tuple[int, int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for descriptors in (
            (pty.slave, pty.slave),
            pipe,
            (ours.fileno(), ours.fileno()),
        ):
            with open_console(*descriptors):
                assert [os.get_blocking(each) for each in descriptors] == [True, True]


def test_where_there_is_no_other_way_the_shared_flag_is_put_back(pty: Pty) -> None:
    # The master of a pty cannot be opened again.
    with open_console(pty.master, pty.master, raw=False):
        assert not os.get_blocking(pty.master)

    assert os.get_blocking(pty.master)


def test_a_flag_that_was_set_before_stays_set(pty: Pty) -> None:
    os.set_blocking(pty.master, False)

    with open_console(pty.master, pty.master, raw=False):
        pass

    assert not os.get_blocking(pty.master)


def test_nothing_stays_open(pty: Pty, pipe: tuple[int, int]) -> None:
    before = descriptors()

    with open_console(pty.slave, pipe[1]):
        pass

    assert descriptors() == before


# Reading


async def test_keys_come_as_they_are_typed(pty: Pty, null: int) -> None:
    with open_console(pty.slave, null) as console:
        os.write(pty.master, b"\x03\r\x1a")

        assert await console.read() == b"\x03\r\x1a"


async def test_a_terminal_that_hangs_up_ends_the_typing(pty: Pty, null: int) -> None:
    with open_console(pty.slave, null) as console:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_end, console)
            await wait_all_tasks_blocked()
            os.close(pty.master)


async def expect_end(console: Console) -> None:
    with trio.fail_after(5):
        assert await console.read() == b""


async def test_a_pipe_is_read_to_its_end(pipe: tuple[int, int], null: int) -> None:
    with open_console(pipe[0], null) as console:
        os.write(pipe[1], b"some")
        os.close(pipe[1])

        assert await console.read(3) == b"som"
        assert await console.read(3) == b"e"
        assert await console.read() == b""


async def test_a_socket_is_read_and_written(null: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open_console(ours.fileno(), ours.fileno()) as console:
        theirs.send(b"in")
        assert await console.read() == b"in"
        await console.write(b"out")
        assert theirs.recv(9) == b"out"
        theirs.close()
        assert await console.read() == b""
        with pytest.raises(LocalError, match="nobody reads"):
            await console.write(b"out")


async def test_a_file_and_nothing_are_always_ready(tmp_path: Path, null: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"in the file")
    output = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)

    with file.open("rb") as source, open_console(source.fileno(), output) as console:
        assert await console.read(6) == b"in the"
        assert await console.read() == b" file"
        assert await console.read() == b""
        await console.write(b"out")
        await console.wait_writable()
    with open_console(null, null) as console:
        assert await console.read() == b""
        await console.write(b"gone")

    os.close(output)
    assert (tmp_path / "out").read_bytes() == b"out"


async def test_a_cancelled_read_loses_nothing(pty: Pty, null: int) -> None:
    with open_console(pty.slave, null) as console:
        with trio.CancelScope() as scope:
            scope.cancel()
            os.write(pty.master, b"x")
            await console.read()

        assert scope.cancelled_caught
        assert await console.read() == b"x"


# Writing


async def test_output_reaches_the_terminal_untouched(pty: Pty, null: int) -> None:
    with open_console(pty.slave, pty.slave) as console:
        assert console.write_nowait(b"a\nb\x1b[m") == 6

        assert os.read(pty.master, 99) == b"a\nb\x1b[m"


async def test_a_full_pipe_takes_a_part_and_then_nothing(pipe: tuple[int, int], null: int) -> None:
    size = fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
    data = bytes(range(256)) * (size // 256 + 8)

    with open_console(null, pipe[1]) as console:
        taken = console.write_nowait(data)
        assert 0 < taken < len(data)
        assert console.write_nowait(data) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.write, data[taken:])
            await wait_all_tasks_blocked()
            got = os.read(pipe[0], size)
        got += os.read(pipe[0], size)

    assert got == data


async def test_a_cancelled_write_leaves_a_beginning(pipe: tuple[int, int], null: int) -> None:
    size = fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
    data = os.urandom(2 * size)

    with open_console(null, pipe[1]) as console:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.write, data)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    assert os.read(pipe[0], 4 * size) == data[:size]


async def test_output_that_nobody_reads_is_an_error(pipe: tuple[int, int], null: int) -> None:
    with open_console(null, pipe[1]) as console:
        os.close(pipe[0])

        with pytest.raises(LocalError, match="nobody reads the output any more"):
            console.write_nowait(b"x")
        with pytest.raises(LocalError, match="nobody reads the output any more"):
            await console.write(b"x")


async def test_who_reads_is_told_the_end_while_the_program_goes_on(
    pipe: tuple[int, int], null: int
) -> None:
    with open_console(null, pipe[1]) as console:
        await console.write(b"last")
        console.end_output()

        assert os.read(pipe[0], 9) == b"last"
        assert os.read(pipe[0], 9) == b""


async def test_a_socket_says_the_end_and_goes_on_reading(null: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open_console(ours.fileno(), ours.fileno()) as console:
        console.end_output()
        assert theirs.recv(9) == b""
        theirs.send(b"in")
        assert await console.read() == b"in"


async def test_that_nobody_reads_any_more_is_known_without_a_write(
    pipe: tuple[int, int], null: int
) -> None:
    before = descriptors()
    with open_console(null, pipe[1]) as console:
        with trio.move_on_after(0) as patience:
            await console.wait_nobody_reads()
        assert patience.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.wait_nobody_reads)
            await wait_all_tasks_blocked()
            os.close(pipe[0])
    assert descriptors() == before - 1


async def test_of_a_file_it_is_never_known(null: int, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, open_console(null, file.fileno()) as console:
        with trio.move_on_after(0.01) as patience:
            await console.wait_nobody_reads()
        assert patience.cancelled_caught


async def test_a_terminal_that_is_gone_takes_no_output(pty: Pty, null: int) -> None:
    with open_console(null, pty.slave) as console:
        os.close(pty.master)

        with pytest.raises(LocalError, match="the terminal is gone"):
            await console.write(b"x")


def test_a_full_disk_is_named(null: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)

    with open_console(null, full) as console, pytest.raises(LocalError, match="No space left"):
        console.write_nowait(b"x")

    os.close(full)


def test_a_notice_ends_its_lines_as_stderr_needs_it(
    pty: Pty, null: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_console(pty.slave, null) as console:
        console.notice("one\r\ntwo\n")
    to_file = capfd.readouterr().err

    saved = os.dup(2)
    os.dup2(pty.slave, 2)
    try:
        with open_console(pty.slave, null) as console:
            console.notice("one\r\ntwo\n")
    finally:
        os.dup2(saved, 2)
        os.close(saved)

    assert to_file == "one\ntwo\n"
    assert os.read(pty.master, 99) == b"one\r\ntwo\r\n"


# The window


def test_the_size_is_that_of_the_output_else_of_the_input(pty: Pty, null: int) -> None:
    pty.resize(50, 132, 800, 600)

    for both in ((pty.slave, pty.slave), (null, pty.slave), (pty.slave, null)):
        with open_console(*both) as console:
            assert console.window_size() == (50, 132, 800, 600)
    with open_console(pty.slave, null, reserved_rows=1) as console:
        assert console.window_size()[0] == 49


def test_without_a_terminal_or_a_size_it_is_the_usual_one(pty: Pty, null: int) -> None:
    with open_console(null, null) as console:
        assert console.window_size() == DEFAULT_SIZE
    pty.resize(0, 0, 0, 0)
    with open_console(pty.slave, pty.slave) as console:
        assert console.window_size() == DEFAULT_SIZE


async def test_changes_of_the_window_are_told(pty: Pty) -> None:
    pty.resize(24, 80, 0, 0)
    to_test, sizes = trio.open_memory_channel[Size](9)
    continued = trio.Event()

    with open_console(pty.slave, pty.slave) as console, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_window_size, console, to_test.send_nowait, continued.set)
            assert await sizes.receive() == (24, 80, 0, 0)
            pty.resize(30, 90, 0, 0)
            os.kill(os.getpid(), signal.SIGWINCH)
            assert await sizes.receive() == (30, 90, 0, 0)
            assert not continued.is_set()
            nursery.cancel_scope.cancel()


async def test_a_program_continued_after_a_stop_takes_its_terminal_again(pty: Pty) -> None:
    to_test, sizes = trio.open_memory_channel[Size](9)
    continued = trio.Event()

    with open_console(pty.slave, pty.slave) as console, trio.fail_after(5):
        raw = pty.mode()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_window_size, console, to_test.send_nowait, continued.set)
            await sizes.receive()
            cooked = termios.tcgetattr(pty.slave)
            cooked[3] |= termios.ECHO | termios.ICANON
            termios.tcsetattr(pty.slave, termios.TCSANOW, cooked)
            pty.resize(30, 90, 0, 0)
            os.kill(os.getpid(), signal.SIGCONT)
            assert await sizes.receive() == (30, 90, 0, 0)
            await continued.wait()
            nursery.cancel_scope.cancel()
        assert pty.mode() == raw


async def test_being_continued_changes_no_terminal_that_was_not_raw(pty: Pty) -> None:
    with open_console(pty.slave, pty.slave, raw=False) as console:
        console.continued()

        assert not pty.is_raw()
