"""Start the user's ``ssh`` at once, before anything slow is imported.

Standard library only: while ssh shakes hands, the caller imports Trio and the rest, and
then reads the answer with ``trioet.bootstrap.openssh``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Sequence
from typing import Final, NamedTuple

from trioet.bootstrap.child import Child
from trioet.errors import StepFailed

OVERRIDES: Final = (
    *("-o", "ClearAllForwardings=yes"),  # they belong to the session, not to this short visit
    *("-o", "RemoteCommand=none"),
    *("-o", "ForwardAgent=no"),  # whatever starts now would keep a socket that is soon dead
    *("-o", "ForwardX11=no"),
    "-T",  # a pty, as RequestTTY may ask for, would echo the passkey and translate line ends
)
"""What must hold for this ssh; ssh takes the first value it sees, so they come first."""


QUIETLY: Final = (
    *("-o", "PermitLocalCommand=no"),  # what it prints would go to the server
    *("-o", "LogLevel=INFO"),  # tells why a channel was not opened
)
"""What must hold for an ssh that nobody sees, unless it asks."""


class SshTarget(NamedTuple):
    """Whom ssh is to call, and how, in the words of its command line."""

    host: str
    user: str | None = None
    config_file: str | None = None
    identity_files: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    verbose: int = 0
    gateway_ports: bool = False
    """``-g``: for the tunnels in the configuration, none of which this ssh opens."""

    jumps: str | None = None
    """``-J``: the hosts on the way."""


class RunningSsh(NamedTuple):
    """A started ssh. Its owner reads ``output`` and then owns neither fd nor process.

    Hand it to ``openssh.read_invitation`` or ``read_ssh_config``, or ``abandon`` it.
    """

    process: Child
    output: int
    host: str

    def abandon(self) -> None:
        """End it, blocking until it has ended: for an error before anybody reads."""
        os.close(self.output)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def ssh_argv(target: SshTarget, command: str) -> list[str]:
    """The command line that runs ``command`` on the target."""
    verbose = ["-v"] * target.verbose
    return ["ssh", *OVERRIDES, *verbose, *ssh_choices(target), "--", target.host, command]


def ssh_channel_argv(
    target: SshTarget, port: int, command: str = "", *, shared: bool = True, asks: bool = False
) -> list[str]:
    """The command line whose stdin and stdout lead to ``command`` on the target's host, or
    without one to ``port`` there. Unless it ``asks``, it asks nothing.

    ``shared``: over the connection of a ControlMaster, if there is one. It never becomes one
    itself: it is ended whenever another way works, and others would end with it.
    """
    sharing = ["-o", "ControlMaster=no"] if shared else ["-S", "none"]
    end = [target.host, command] if command else [target.host]
    channel = [] if command else ["-W", f"localhost:{port}"]
    asking = [] if asks else ["-o", "BatchMode=yes"]
    return [
        "ssh",
        *OVERRIDES,
        *asking,
        *QUIETLY,
        *sharing,
        *channel,
        *ssh_choices(target),
        "--",
        *end,
    ]


def ssh_config_argv(target: SshTarget) -> list[str]:
    """The command line that prints what the configuration says of the target.

    Without our overrides: tunnels and agent forwarding are the session's to open.
    """
    gateway_ports = ["-g"] * target.gateway_ports
    return ["ssh", "-G", *gateway_ports, *ssh_choices(target), "--", target.host]


def ssh_choices(target: SshTarget) -> list[str]:
    """What the user chose, as ssh's own options: ``-F``, ``-i``, ``-l``, ``-o``."""
    words: list[str] = []
    if target.config_file is not None:
        words += ["-F", target.config_file]
    for path in target.identity_files:
        words += ["-i", path]
    if target.user is not None:
        words += ["-l", target.user]
    if target.jumps is not None:
        words += ["-J", target.jumps]
    for option in target.options:
        words += ["-o", option]
    return words


def spawn_ssh(argv: Sequence[str], line: bytes, host: str, *, quiet: bool = False) -> RunningSsh:
    """Start ssh with ``line`` on its stdin, then end of file. Never blocks.

    Its stderr is ours, unless ``quiet``, and it asks for passwords on the terminal, whatever
    our stdin is.

    Raises:
      StepFailed: there is no ssh program.
    """
    stdin, ours = _pipe()
    try:
        running = _spawn_quiet(argv, host, stdin) if quiet else _spawn(argv, host, stdin, stderr=2)
        # If ssh is gone already, its exit status says more than a broken pipe.
        with contextlib.suppress(BrokenPipeError):
            os.write(ours, line)
    finally:
        os.close(ours)
    return running


def spawn_ssh_config(argv: Sequence[str], host: str) -> RunningSsh:
    """Start ``ssh -G``. What it complains of, the ssh beside it does too, and aloud.

    Raises:
      StepFailed: there is no ssh program.
    """
    nothing = above_streams(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    return _spawn(argv, host, nothing, stderr=nothing)


def _spawn_quiet(argv: Sequence[str], host: str, stdin: int) -> RunningSsh:
    nothing = above_streams(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    try:
        return _spawn(argv, host, stdin, stderr=nothing)
    finally:
        os.close(nothing)


def _spawn(argv: Sequence[str], host: str, stdin: int, *, stderr: int) -> RunningSsh:
    """Start it; ``stdin`` is closed here in any case."""
    output, ours = _pipe()
    try:
        process = Child(argv, (stdin, ours, stderr))
    except OSError as error:
        os.close(output)
        hint = "install OpenSSH's client, or use --ssh-backend asyncssh"
        raise StepFailed("ssh", f"cannot run {argv[0]}: {error.strerror}", hint) from error
    finally:
        os.close(ours)
        os.close(stdin)
    return RunningSsh(process, output, host)


def _pipe() -> tuple[int, int]:
    """A pipe: its reading and its writing end."""
    reading, writing = os.pipe()
    return above_streams(reading), above_streams(writing)


def above_streams(descriptor: int) -> int:
    """The same under a number that is none of the standard streams', one of which may be
    closed here."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved
