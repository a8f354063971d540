"""A program on a pty of our own: the one driver behind every figure."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Self

ROWS: Final = 24
COLUMNS: Final = 80
READ_SIZE: Final = 64 * 1024
REMEMBERED: Final = 4096
"""Bytes of output kept for what is waited for, and for the message when it does not come."""

_ESCAPES: Final = re.compile(
    rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|[=>78])"
)
_ON_PTY: Final = 'slave=$1; shift; exec "$@" <>"$slave" >&0 2>&0'


class BenchError(Exception):
    """A measurement that could not be taken, and why."""


class Terminal:
    """A program as a terminal emulator runs it. A context manager: leaving ends the program.

    All times are those of ``time.perf_counter``.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        os.set_blocking(self._master, False)
        self._tail = b""
        self._name = argv[0]
        self.started = self.shown_at = time.perf_counter()
        # A session leader's first open of a terminal makes it the controlling one.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _ON_PTY, "sh", os.ttyname(slave), *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._slave = slave

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, data: bytes) -> None:
        """Type ``data``; blocks for as long as the terminal takes no more."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._master, view) :]
            except BlockingIOError:
                select.select([], [self._master], [])

    def read(self, timeout_s: float, size: int = READ_SIZE) -> bytes:
        """Return what is displayed next; b"" when nothing was for ``timeout_s``.

        Raises:
          BenchError: the program has ended.
        """
        ready, _, _ = select.select([self._master], [], [], max(timeout_s, 0))
        if not ready:
            if self._process.poll() is not None:
                raise BenchError(
                    f"{self._name} ended, status {self._process.returncode}: {self.shown}"
                )
            return b""
        with suppress(BlockingIOError):
            data = os.read(self._master, size)
            self._tail = (self._tail + data)[-REMEMBERED:]
            return data
        return b""

    def wait_for(self, pattern: re.Pattern[bytes] | bytes, timeout_s: float) -> None:
        """Read until ``pattern`` is displayed; ``shown_at`` is when that was.

        Escape sequences are taken out before comparing. What came before the call does
        not count, nor does it afterwards.

        Raises:
          BenchError: it was not displayed within ``timeout_s``, or the program has ended.
        """
        wanted = re.compile(re.escape(pattern)) if isinstance(pattern, bytes) else pattern
        seen = b""
        deadline = time.perf_counter() + timeout_s
        while (left := deadline - time.perf_counter()) > 0:
            data = self.read(min(left, 0.5))
            if data:
                self.shown_at = time.perf_counter()
                seen = (seen + data)[-REMEMBERED:]
                if wanted.search(_ESCAPES.sub(b"", seen)):
                    return
        raise BenchError(f"{wanted.pattern!r} not shown within {timeout_s:g} s; last: {self.shown}")

    def drain_until(self, marker: bytes, timeout_s: float) -> float:
        """As :meth:`wait_for`, as fast as this process can read; ``marker`` comes unbroken.

        Raises:
          BenchError: as :meth:`wait_for`.
        """
        tail = b""
        keep = len(marker) - 1
        deadline = time.perf_counter() + timeout_s
        while True:
            try:
                data = os.read(self._master, READ_SIZE)
            except BlockingIOError:
                if time.perf_counter() > deadline:
                    break
                select.select([self._master], [], [], 0.5)
                continue
            if marker in data or marker in tail + data[:keep]:
                return time.perf_counter()
            tail = (tail + data)[-keep:]
        raise BenchError(f"{marker!r} not shown within {timeout_s:g} s; last: {tail[-300:]!r}")

    def settle(self, quiet_s: float) -> None:
        """Read until nothing was displayed for ``quiet_s``."""
        while self.read(quiet_s):
            pass

    @property
    def shown(self) -> str:
        """The last of what was displayed, for error messages."""
        return repr(_ESCAPES.sub(b"", self._tail)[-300:].decode(errors="replace"))

    def close(self) -> None:
        """End the program and all in its session, as closing the window does."""
        if self._master < 0:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGHUP)
        self.wait_end(1.0)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)
        os.close(self._slave)
        self._master = -1

    def wait_end(self, patience_s: float) -> None:
        """Wait for the program to end, reading: with much to say it cannot end otherwise."""
        deadline = time.perf_counter() + patience_s
        while self._process.poll() is None and time.perf_counter() < deadline:
            with suppress(BenchError):
                self.read(0.02)
