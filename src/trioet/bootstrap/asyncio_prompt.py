"""Ask the user a question on the terminal, from asyncio, without blocking or a thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections.abc import Iterator
from typing import Final

LOCAL_MODES: Final = 3
"""Where tcgetattr keeps them."""

MAX_ANSWER: Final = 4096


async def ask(question: str, *, echo: bool = False) -> str | None:
    """Ask on the user's terminal; None without a terminal, or at its end of file.

    Cancellation leaves the terminal as it was.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        with _quiet(terminal, echo):
            os.write(terminal, question.encode(errors="replace"))
            loop.add_reader(terminal, readable.set)
            await readable.wait()
            answer = os.read(terminal, MAX_ANSWER)
    finally:
        loop.remove_reader(terminal)
        os.close(terminal)
    return answer.decode(errors="replace").rstrip("\n") if answer else None


@contextlib.contextmanager
def _quiet(terminal: int, echo: bool) -> Iterator[None]:
    if echo:
        yield
        return
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[LOCAL_MODES] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.write(terminal, b"\n")
