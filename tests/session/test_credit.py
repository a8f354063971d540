"""Credit for the terminal, sender's side and receiver's."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_no_checkpoints, wait_all_tasks_blocked

from trioet.link.resumable import ACK_EVERY
from trioet.link.room import WINDOW
from trioet.session.credit import Credit, Debt


async def test_nothing_is_limited_before_it_is_agreed() -> None:
    credit = Credit()
    credit.spend(10 * WINDOW)
    with assert_no_checkpoints():
        await credit.wait()


async def test_a_window_may_be_sent_and_then_it_waits_for_more() -> None:
    credit = Credit()
    credit.agree()
    credit.spend(WINDOW - 1)
    with assert_no_checkpoints():
        await credit.wait()
    credit.spend(1)
    done = trio.Event()

    async def wait() -> None:
        await credit.wait()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        credit.grant(1)
        with trio.fail_after(1):
            await done.wait()


async def test_what_was_sent_beyond_it_must_be_made_good_first() -> None:
    credit = Credit()
    credit.agree()
    credit.spend(WINDOW + 100)
    credit.grant(100)
    with trio.move_on_after(0) as patience:
        await credit.wait()
    assert patience.cancelled_caught


async def test_nobody_waits_for_who_is_away_and_all_that_was_sent_counts(
    autojump_clock: MockClock,
) -> None:
    credit = Credit()
    credit.agree()
    credit.spend(WINDOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(credit.wait)
        await wait_all_tasks_blocked()
        credit.waive(True)
    credit.spend(WINDOW)
    await credit.wait()
    credit.waive(False)
    credit.grant(WINDOW)
    with trio.move_on_after(1) as patience:
        await credit.wait()
    assert patience.cancelled_caught
    credit.grant(1)
    await credit.wait()


@given(st.lists(st.integers(0, WINDOW)))
def test_what_is_granted_is_what_was_taken_but_for_a_little(taken: list[int]) -> None:
    debt = Debt()
    granted = sum(map(debt.take, taken))
    assert 0 <= sum(taken) - granted < ACK_EVERY


def test_little_is_not_worth_a_packet() -> None:
    debt = Debt()
    assert debt.take(ACK_EVERY - 1) == 0
    assert debt.take(1) == ACK_EVERY
    assert debt.take(0) == 0
