"""A child process, without `subprocess`: importing that takes longer than starting ssh."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence


class Child:
    """A started program. Whoever starts it waits for it: :meth:`wait`, or :meth:`poll`."""

    def __init__(self, argv: Sequence[str], streams: Sequence[int]) -> None:
        """Start it, found on PATH, with these descriptors for its stdin, stdout and stderr.

        One that keeps its number is inherited; the others may not be below 3. The child has
        no more of ours, and signals are as usual, also where we hold some back.

        Raises:
          OSError: it cannot be started.
        """
        actions = [
            (os.POSIX_SPAWN_DUP2, ours, number)
            for number, ours in enumerate(streams)
            if ours != number
        ]
        self.returncode: int | None = None
        """Exit status, or minus the number of the signal that ended it; None while it runs."""
        self.pid = os.posix_spawnp(
            argv[0],
            list(argv),
            os.environ,
            file_actions=actions,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )

    def poll(self) -> int | None:
        """Look whether it has ended; return :attr:`returncode`."""
        self._reap(os.WNOHANG)
        return self.returncode

    def wait(self) -> int:
        """Wait, blocking, until it has ended; return how."""
        self._reap(0)
        assert self.returncode is not None, "it has ended"
        return self.returncode

    def _reap(self, flags: int) -> None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)
