"""The border between Trio and asyncio, for the sake of asyncssh.

trio-asyncio does not import on Python 3.14 and later: there, asyncio runs in a worker
thread. Elsewhere it is imported only when needed, because it changes asyncio for the
whole process.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import trio

from trioet.errors import TrioetError

T = TypeVar("T")


async def in_asyncio(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run asyncio's ``work`` to its end; cancellation reaches it.

    Raises what it raises.
    """
    if sys.version_info >= (3, 14):
        return await in_worker_thread(work)
    return await in_trio_loop(work)


async def in_trio_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it by trio-asyncio, in this thread."""
    import trio_asyncio  # type: ignore[import-untyped]

    async with trio_asyncio.open_loop():
        outcome: T | TrioetError = await trio_asyncio.aio_as_trio(_outcome)(work)
    return _unwrap(outcome)


async def in_worker_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it by asyncio's own loop, in a thread."""
    thread = _LoopThread(work)
    finished = trio.Event()
    outcomes: list[T | TrioetError] = []

    async def carry() -> None:
        # Not abandoned on cancellation: the thread ends soon after it is told to.
        with trio.CancelScope(shield=True):
            outcomes.extend(await trio.to_thread.run_sync(thread.run))
        finished.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        try:
            await finished.wait()
        finally:
            thread.stop()
    return _unwrap(outcomes[0])


class _LoopThread(Generic[T]):
    """An asyncio loop for a thread, to be stopped from another."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[T | TrioetError]] | None = None
        self._stopped = False

    def run(self) -> list[T | TrioetError]:
        """Run the work; return its outcome, or nothing when stopped."""
        # By name: where trio-asyncio was imported, a default loop is no longer asyncio's.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            loop = runner.get_loop()
            task = loop.create_task(_outcome(self._work))
            with self._lock:
                self._running = loop, task
            if self._stopped:
                task.cancel()
            try:
                return [loop.run_until_complete(task)]
            except asyncio.CancelledError:
                return []
            finally:
                with self._lock:
                    self._running = None

    def stop(self) -> None:
        """Cancel the work, whether or not it has begun or ended."""
        self._stopped = True
        with self._lock:
            if self._running is not None:
                loop, task = self._running
                loop.call_soon_threadsafe(task.cancel)


async def _outcome(work: Callable[[], Coroutine[Any, Any, T]]) -> T | TrioetError:
    """Run it and carry our own errors out as values: a nursery on the way would wrap them."""
    try:
        return await work()
    except TrioetError as error:
        return error


def _unwrap(outcome: T | TrioetError) -> T:
    if isinstance(outcome, TrioetError):
        raise outcome
    return outcome
