from __future__ import annotations

import trio
from trio.testing import MockClock

from trioet.server.grace import MOST_PER_USER, Grace

ALICE, BOB = 1000, 1001


async def test_an_id_is_remembered_for_a_while(autojump_clock: MockClock) -> None:
    grace = Grace(20)
    grace.remember(ALICE, b"one")
    await trio.sleep(19)
    assert b"one" in grace
    await trio.sleep(2)
    assert b"one" not in grace


async def test_one_user_makes_nobody_elses_forgotten(autojump_clock: MockClock) -> None:
    grace = Grace(20)
    grace.remember(ALICE, b"hers")
    for number in range(3 * MOST_PER_USER):
        grace.remember(BOB, b"%d" % number)
    assert b"hers" in grace
    assert b"%d" % (3 * MOST_PER_USER - 1) in grace
    assert b"0" not in grace


async def test_what_came_back_is_forgotten(autojump_clock: MockClock) -> None:
    grace = Grace(20)
    grace.remember(ALICE, b"one")
    grace.forget(b"one")
    assert b"one" not in grace
