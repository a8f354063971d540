"""Who is away, and for how long."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.session.attendance import Attendance


async def test_a_client_is_waited_for_from_when_it_left(autojump_clock: MockClock) -> None:
    attendance = Attendance()
    async with trio.open_nursery() as nursery:
        deserted: list[float] = []

        async def wait() -> None:
            await attendance.wait_deserted(60)
            deserted.append(trio.current_time())

        nursery.start_soon(wait)
        await trio.sleep(1000)
        attendance.note(True)
        await trio.sleep(1000)
        attendance.note(False)
        await trio.sleep(59)
        attendance.note(True)
        await trio.sleep(1000)
        assert deserted == []
        attendance.note(False)
        left = trio.current_time()
        await wait_all_tasks_blocked()
        await trio.sleep(61)
        assert deserted == [left + 60]
