"""The signals that end a program at a terminal, and what it has started with it.

Trio is imported only by who has started ssh.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager

from trioet.errors import LocalError, TrioetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def hold_signals() -> None:
    """Let them wait for :func:`ending_signals`: what is started now is not to outlive us."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


@contextmanager
def ending_signals() -> Iterator[AsyncIterator[int]]:
    """Those that come, as long as the context lasts; for the main thread.

    What whoever started us wants ignored, as nohup(1) does, stays so; but for SIGTERM.
    """
    import trio

    heeded = [
        number
        for number in ENDING
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]
    with trio.open_signal_receiver(*heeded) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        yield signals


async def until_ended(work: Callable[[], Awaitable[int]]) -> int:
    """Do the work, which a signal that is to end us cancels; return its exit status.

    Raises:
      KeyboardInterrupt: it was SIGINT.
      LocalError: it was another.
      TrioetError: the work failed.
    """
    import trio

    status = 0
    failure: BaseException | None = None
    ended: signal.Signals | None = None
    scope = trio.CancelScope()

    async def heed() -> None:
        nonlocal ended
        # To the end of the work: a window that is closed mostly says so twice.
        async for number in signals:
            ended = ended or signal.Signals(number)
            scope.cancel()

    with ending_signals() as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(heed)
                with scope:
                    status = await work()
                nursery.cancel_scope.cancel()
        except* TrioetError as group:
            failure = group
    if ended is signal.SIGINT:
        raise KeyboardInterrupt
    if ended is not None:
        raise LocalError(f"ended by {ended.name}")
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        raise failure
    return status
