"""A session for a guest: somebody who may use a program, and no more of its user's rights.

An ordinary client has its user's rights anyway, and says what is to run. A guest came by the
web: what runs, in which environment, how large, and whether it takes input is granted by
whoever asked the keeper for the session, and nothing that the guest says under the seal
changes it. There are no tunnels, neither trioet's nor ET's.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from trioet.session.program import Program
from trioet.session.server_tunnels import ServerTunnels
from trioet.session.shell import HANGUP_GRACE_S
from trioet.wire.channels import ChannelOpen, Unlisten
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.messages import Exec, InitialPayload, WindowSize

IN_DIRECTORY = 'cd -- "$1" && shift && exec "$@"'
"""For /bin/sh, as posix_spawn has no directory: everything foreign is a positional parameter,
which no shell reads as anything else."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a guest may do."""

    argv: tuple[bytes, ...]
    """What runs: an executable's path, and its arguments."""

    directory: bytes = b"/"
    write: bool = False
    """May type. Without it what is typed is dropped here, however it was sealed."""

    rows: int = 0
    columns: int = 0
    """Fixed, unless 0."""

    linger_s: float = 3600.0
    """How long the program goes on while the guest is not connected."""

    close_signal: int = signal.SIGHUP
    """What the program gets when the guest has left, or does not come back."""

    close_timeout_s: float = HANGUP_GRACE_S
    """From that to SIGKILL."""

    def limit(self, payload: InitialPayload) -> InitialPayload:
        """What is left of a guest's wishes: the features, which say only how it talks."""
        return InitialPayload(
            jumphost=payload.jumphost, features=payload.features, exec=Exec(pty=True)
        )

    def size(self, wished: WindowSize) -> WindowSize:
        """The size of the terminal, where the guest's own is that."""
        return dataclasses.replace(
            wished, rows=self.rows or wished.rows, columns=self.columns or wished.columns
        )

    def program(self, environment: Mapping[bytes, bytes]) -> Program:
        """What to start."""
        words = (b"sh", b"-c", os.fsencode(IN_DIRECTORY), b"sh", self.directory, *self.argv)
        return Program("/bin/sh", words, environment)


class NoTunnels(ServerTunnels):
    """The policy for guests: whoever asks is told that it is not allowed."""

    def admit(self, message: ChannelOpen) -> None:
        return None

    def listen_said(self, message: Listen | Listening | Unlisten) -> None:
        if isinstance(message, Listen):
            self.forwards.say(Listening(message.number, error="guests have no tunnels"))
