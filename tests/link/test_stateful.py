"""A whole link, whatever happens: lines cut at any byte, a router that comes and goes, two or
three lines at once, and attackers who know the client id.

Everything sent arrives, once and in order; no line that works is given up for one that has
proven nothing; and when the trouble is over the session lives. That these tests can fail is
shown by :mod:`planted`: with any of those faults in the link, an example is found that fails.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from collections.abc import Callable
from typing import Final

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from journey import BULK, SMALL, Journey, RouterState, Violation
from steps import (
    Busy,
    Cargo,
    Claim,
    Copy,
    Cut,
    Deliver,
    Dial,
    End,
    Flip,
    Flow,
    GiveUp,
    Impostor,
    Knock,
    Overtake,
    Pour,
    Probe,
    Recount,
    Relay,
    Repeat,
    Replay,
    Retype,
    Router,
    Send,
    Step,
    Swap,
    Wait,
)
from trioet.wire.messages import ConnectStatus

way = st.booleans()
which = st.integers(0, 3)
sizes = st.one_of(st.integers(4, SMALL), st.sampled_from([5_000, BULK]))
counts = st.one_of(st.integers(1, 300), st.integers(1, 1 << 14))
deltas = st.integers(-3, 3)

USERS: Final = [
    st.builds(Send, way, sizes),
    st.builds(Send, way, sizes),
    st.builds(Pour, way),
    st.builds(Probe, way),
    st.builds(Busy, way, st.booleans()),
    st.builds(Dial),
    st.builds(Dial),
    st.builds(GiveUp, way),
]
NETWORK: Final = [
    st.builds(Flow),
    st.builds(Flow),
    st.builds(Deliver, which, way, counts),
    st.builds(Deliver, which, way, counts),
    st.builds(Cut, which, st.sampled_from(End)),
    st.builds(Wait, st.sampled_from([1.0, 5.0, 10.0, 15.0, 30.0])),
    st.builds(Router, st.sampled_from(RouterState)),
]
STRANGER: Final = [
    st.builds(Knock, st.sampled_from(Claim), deltas, st.sampled_from(Cargo)),
    st.builds(Replay, which),
    st.builds(
        Impostor,
        st.sampled_from(ConnectStatus),
        st.sampled_from(Claim),
        deltas,
        st.sampled_from(Cargo),
    ),
]
ON_THE_WAY: Final = [
    st.builds(Flip, which, way, st.integers(0, 1 << 14)),
    st.builds(Repeat, which, way),
    st.builds(Swap, which, way),
    st.builds(Retype, which, way, st.sampled_from([0, 1, 2, 64, 200])),
    st.builds(Recount, which, way, deltas),
    st.builds(Overtake),
    st.builds(Relay, st.sampled_from(Claim), deltas),
    st.builds(Copy),
]


def journeys(*kinds: list[st.SearchStrategy[Step]]) -> st.SearchStrategy[list[Step]]:
    steps = st.one_of([step for kind in kinds for step in kind])
    # In stages, for lists of lists become long more often, and still shrink to nothing.
    stages = st.lists(st.lists(steps, max_size=20), max_size=10)
    return stages.map(lambda lists: [step for stage in lists for step in stage])


def travel(steps: list[Step]) -> None:
    """Take the steps, and then see that everything arrives.

    Raises:
      Violation: a promise was broken on the way, or at the end.
    """
    clock = MockClock()
    found: list[Violation] = []

    async def session() -> None:
        async with trio.open_nursery() as nursery:
            journey = Journey(nursery, clock)
            try:
                for step in steps:
                    await step.take(journey)
                    await wait_all_tasks_blocked()
                    journey.check()
                await journey.arrive()
            except Violation as violation:
                found.append(violation)
            nursery.cancel_scope.cancel()

    trio.run(session, clock=clock)
    if found:
        raise found[0]


SLOW: Final = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=3 * settings.default.max_examples, suppress_health_check=SLOW)
@given(journeys(USERS, NETWORK))
def test_everything_arrives_once_and_in_order_whatever_the_network_does(steps: list[Step]) -> None:
    travel(steps)


@settings(max_examples=3 * settings.default.max_examples, suppress_health_check=SLOW)
@given(journeys(USERS, NETWORK, STRANGER))
def test_a_stranger_with_the_id_disturbs_nothing(steps: list[Step]) -> None:
    travel(steps)


@settings(max_examples=3 * settings.default.max_examples, suppress_health_check=SLOW)
@given(journeys(USERS, NETWORK, STRANGER, ON_THE_WAY))
def test_somebody_on_the_way_only_delays(steps: list[Step]) -> None:
    travel(steps)
