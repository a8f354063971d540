"""The signals that end a program at a terminal, and what it has started with it."""

from __future__ import annotations

import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def hold_signals() -> None:
    """Let them wait for :func:`ending_signals`: what is started now is not to outlive us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


@contextmanager
def ending_signals() -> Iterator[AsyncIterator[int]]:
    """Those that come, as long as the context lasts; for the main thread.

    What whoever started us wants ignored, as nohup(1) does, stays so; but for SIGTERM.
    """
    import trio  # not before ssh has been started

    heeded = [
        number
        for number in ENDING
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]
    with trio.open_signal_receiver(*heeded) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        yield signals
