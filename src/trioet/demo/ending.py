"""How the demo ends before its time: a signal, or an error, and nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.errors import LocalError, TrioetError

ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


async def until_signal(work: Callable[[], Awaitable[int]]) -> int:
    """Do the work, which a signal cancels; return its exit status.

    Raises:
      TrioetError: it failed, or a signal ended it.
    """
    status = 0
    ended_by = ""
    failure: BaseException | None = None
    scope = trio.CancelScope()

    async def end_on_signal() -> None:
        nonlocal ended_by
        # To the end of the work: a window that is closed mostly says so twice.
        async for number in signals:
            ended_by = signal.Signals(number).name
            scope.cancel()

    with trio.open_signal_receiver(*ENDING) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_on_signal)
                with scope:
                    status = await work()
                nursery.cancel_scope.cancel()
        except* TrioetError as group:
            failure = group
    if ended_by:
        raise LocalError(f"ended by {ended_by}")
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        raise failure
    return status
