"""What is held against a source, and what of it reaches the log."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from trioet.link.refusals import FREE, MAX_SOURCES, MOST, Refusals

A, B = "192.0.2.1", "2001:db8::/64"


async def test_each_refusal_is_told_once_with_its_source(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    refusals = Refusals()
    refusals.note(A, "a bad length")
    refusals.note(B, "a bad tag")
    assert caplog.messages == [f"refused {A}: a bad length", f"refused {B}: a bad tag"]
    assert refusals.count == 2


async def test_who_is_refused_often_is_penalised_until_time_heals_it(
    autojump_clock: MockClock,
) -> None:
    refusals = Refusals()
    for _ in range(round(FREE)):
        refusals.note(A, "garbage")
    assert not refusals.penalised(A)
    refusals.note(A, "garbage")
    assert refusals.penalised(A)
    assert not refusals.penalised(B)
    await trio.sleep(2)
    assert not refusals.penalised(A)


async def test_a_penalty_has_an_end(autojump_clock: MockClock) -> None:
    refusals = Refusals()
    for _ in range(100_000):
        refusals.note(A, "garbage")
    await trio.sleep(MOST - FREE - 1)
    assert refusals.penalised(A)
    await trio.sleep(2)
    assert not refusals.penalised(A)


async def test_a_flood_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    refusals = Refusals()
    for _ in range(10_000):
        refusals.note(A, "garbage")
    assert len(caplog.messages) == FREE + 2
    assert caplog.messages[-1] == f"{A} was refused often; what follows is counted, not logged"
    assert refusals.count == 10_000

    await trio.sleep(MOST)
    refusals.note(A, "again")
    assert caplog.messages[-2:] == [
        f"{10_000 - FREE - 1:.0f} more connections of {A} were refused",
        f"refused {A}: again",
    ]


async def test_only_so_many_sources_are_remembered(autojump_clock: MockClock) -> None:
    refusals = Refusals()
    for number in range(MAX_SOURCES + 100):
        refusals.note(f"source {number}", "garbage")
    assert repr(refusals) == f"<Refusals count={MAX_SOURCES + 100} sources={MAX_SOURCES}>"
