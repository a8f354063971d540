from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from trioet.bootstrap import asyncio_border
from trioet.bootstrap.asyncio_border import in_asyncio, in_trio_loop, in_worker_thread
from trioet.errors import StepFailed

Work = Callable[[], Coroutine[Any, Any, str]]
Border = Callable[[Work], Awaitable[str]]

both_ways = pytest.mark.parametrize("border", [in_trio_loop, in_worker_thread])


@both_ways
async def test_a_result_crosses_the_border(border: Border) -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "result"

    assert await border(work) == "result"


@both_ways
async def test_our_own_errors_cross_it_as_they_are(border: Border) -> None:
    async def work() -> str:
        raise StepFailed("ssh", "no way")

    with pytest.raises(StepFailed, match="no way"):
        await border(work)


@both_ways
async def test_cancellation_crosses_it_and_is_waited_for(border: Border) -> None:
    events: list[str] = []
    begun = threading.Event()

    async def work() -> str:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            events.append("cleaned up")
        return "never"

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(border, work)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()

    assert events == ["cleaned up"]


@both_ways
async def test_cancellation_before_the_work_began_prevents_it(border: Border) -> None:
    async def work() -> str:
        await asyncio.sleep(1000)
        return "never"

    with trio.fail_after(20), trio.CancelScope() as scope:
        scope.cancel()
        await border(work)

    assert scope.cancelled_caught


async def test_trio_goes_on_while_asyncio_works_in_a_thread() -> None:
    release = threading.Event()

    async def work() -> str:
        await asyncio.to_thread(release.wait, 20)
        return threading.current_thread().name

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_worker_thread, work)
            await trio.testing.wait_all_tasks_blocked()
            release.set()


@pytest.mark.parametrize(
    ("version", "chosen"), [((3, 13, 9), "in_trio_loop"), ((3, 14, 0), "in_worker_thread")]
)
async def test_the_thread_is_for_pythons_that_trio_asyncio_does_not_know(
    version: tuple[int, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def border(work: Work) -> str:
        return f"{chosen} {await work()}"

    async def work() -> str:
        return "chosen"

    monkeypatch.setattr(asyncio_border, "sys", SimpleNamespace(version_info=version))
    monkeypatch.setattr(asyncio_border, chosen, border)

    assert await in_asyncio(work) == f"{chosen} chosen"
