"""Start the user's shell or command, on a pty or on pipes, without fork.

``posix_spawn`` makes the child a session leader and then opens the pty's slave side in
it, which on Linux makes that its controlling terminal. So no Python runs between fork and
exec: safe in a process with threads, and quick.
"""

from __future__ import annotations

import fcntl
import os
import pty
import pwd
import signal
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trioet.errors import LocalError
from trioet.session.descriptors import give_usual_limit
from trioet.wire.messages import WindowSize

IUTF8: Final = 0o40000
"""Input is UTF-8, so that erasing takes a whole character (termios(3), Linux)."""

_DEFAULT_SIGNALS: Final = [
    signal.SIGPIPE,  # Python ignores it, and an ignored signal survives exec
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
]


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: the executable, its argv with argv[0], its environment."""

    executable: str
    argv: tuple[str | bytes, ...]
    environment: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Running:
    """A started program and our ends of its descriptors, all non-blocking.

    On a pty ``stdin`` and ``stdout`` are the same descriptor and ``stderr`` is None.
    """

    pid: int
    stdin: int
    stdout: int
    stderr: int | None


def login_shell(environment: Mapping[bytes, bytes]) -> Program:
    """The user's shell as a login starts it: argv[0] with a dash."""
    shell = _shell_path()
    return Program(shell, ("-" + os.path.basename(shell),), environment)


def shell_command(command: bytes, environment: Mapping[bytes, bytes]) -> Program:
    """A command as sshd runs one: the user's shell with ``-c``."""
    shell = _shell_path()
    return Program(shell, (os.path.basename(shell), "-c", command), environment)


def user_environment(
    inherited: Mapping[bytes, bytes], sent: Mapping[bytes, bytes], own: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """The environment of a shell: what ssh gave, what the client sent, what we say.

    Names and values that no environment can hold are left out.
    """
    user = pwd.getpwuid(os.getuid())
    merged = {
        **inherited,
        b"HOME": os.fsencode(user.pw_dir),
        b"SHELL": os.fsencode(_shell_path()),
        b"USER": os.fsencode(user.pw_name),
        b"LOGNAME": os.fsencode(user.pw_name),
        **sent,
        **own,
    }
    return {
        name: value
        for name, value in merged.items()
        if name and b"=" not in name and b"\0" not in name + value
    }


def spawn_on_pty(program: Program, size: WindowSize) -> Running:
    """Start a program on a new pty of the given size.

    Raises:
      LocalError: it cannot be started, or there is no pty to be had.
    """
    try:
        master, slave = pty.openpty()
    except OSError as error:
        raise LocalError(f"no pseudo terminal to be had: {error.strerror}") from error
    try:
        mode = termios.tcgetattr(slave)
        mode[0] |= IUTF8
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        set_window_size(master, size)
        os.set_blocking(master, False)
        path = os.ttyname(slave)
        pid = _spawn(
            program,
            [
                (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
        )
    except LocalError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Running(pid, master, master, None)


def spawn_on_pipes(program: Program) -> Running:
    """Start a program on three pipes, 8-bit clean.

    Raises:
      LocalError: it cannot be started.
    """
    pairs = [os.pipe(), os.pipe(), os.pipe()]
    theirs = [pairs[0][0], pairs[1][1], pairs[2][1]]
    ours = [pairs[0][1], pairs[1][0], pairs[2][0]]
    try:
        pid = _spawn(program, [(os.POSIX_SPAWN_DUP2, end, fd) for fd, end in enumerate(theirs)])
    except LocalError:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    for end in ours:
        os.set_blocking(end, False)
    return Running(pid, *ours)


def set_window_size(descriptor: int, size: WindowSize) -> None:
    """Set the size of a pty; the kernel tells the programs on it by SIGWINCH."""
    packed = struct.pack("HHHH", size.rows, size.columns, size.xpixel, size.ypixel)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, packed)


def _spawn(program: Program, actions: list[tuple[int, ...] | tuple[object, ...]]) -> int:
    try:
        pid = os.posix_spawn(
            program.executable,
            list(program.argv),
            dict(program.environment),
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    except OSError as error:
        raise LocalError(f"cannot start {program.executable}: {error.strerror}") from error
    give_usual_limit(pid)
    return pid


def _shell_path() -> str:
    return pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
