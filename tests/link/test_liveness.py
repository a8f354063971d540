from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from lines import Cable
from pairs import DATA, Pair
from trioet.link.liveness import ANSWER_PATIENCE_S, Liveness
from trioet.link.rhythm import Rhythm

INTERVAL_S = 5.0


class Watched:
    """A pair whose client is watched, and what the watch said."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.suspicions: list[float] = []
        self.liveness = Liveness(pair.client, Rhythm(INTERVAL_S, INTERVAL_S), self._suspect)
        pair.client.on_change = self.liveness.line_changed
        self.cable = pair.connect()
        pair.client.send_keepalive()

    def _suspect(self) -> None:
        self.suspicions.append(trio.current_time())

    def type(self) -> None:
        self.pair.client.send(DATA, b"x")
        self.liveness.sent()


@pytest.fixture
async def watched(autojump_clock: MockClock) -> AsyncIterator[Watched]:
    async with trio.open_nursery() as nursery:
        made = Watched(Pair(nursery))
        nursery.start_soon(made.liveness.run)
        await trio.sleep(0.1)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_quiet_link_is_asked_once_an_interval_and_lives(
    watched: Watched, autojump_clock: MockClock
) -> None:
    before = watched.pair.client.sent
    await trio.sleep(60)
    asked = watched.pair.client.sent - before
    assert 11 <= asked <= 12
    assert not watched.suspicions
    assert watched.pair.client.attached


async def test_an_idle_link_wakes_the_process_once_an_interval_to_ask(
    watched: Watched, autojump_clock: MockClock
) -> None:
    steps: list[float] = []
    step = watched.liveness._step

    def counted() -> float:
        steps.append(trio.current_time())
        return step()

    watched.liveness._step = counted  # type: ignore[method-assign]
    await trio.sleep(60)
    # The answer comes at the moment of the question here; no third moment is needed.
    assert 11 <= len(set(steps)) <= 12


async def test_a_dead_idle_link_is_dropped_within_two_intervals(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    await trio.sleep(2 * INTERVAL_S - 0.2)
    assert watched.pair.client.attached
    await trio.sleep(0.2)
    assert not watched.pair.client.attached


async def test_typing_does_not_hide_that_a_link_is_dead(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    begun = trio.current_time()
    while watched.pair.client.attached:
        watched.type()
        await trio.sleep(0.3)
    assert trio.current_time() - begun <= 2 * INTERVAL_S + 0.3


async def test_what_stays_unanswered_is_probed_soon_and_suspect_within_a_second(
    watched: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(2)
    watched.cable.stall()
    typed = trio.current_time()
    watched.type()
    sent = watched.pair.client.sent

    await trio.sleep(ANSWER_PATIENCE_S + 0.1)
    assert watched.pair.client.sent == sent + 1
    assert not watched.suspicions
    await trio.sleep(ANSWER_PATIENCE_S)
    assert [moment - typed for moment in watched.suspicions] == [
        pytest.approx(2 * ANSWER_PATIENCE_S)
    ]


async def test_a_shell_that_prints_nothing_is_not_suspect(
    watched: Watched, autojump_clock: MockClock
) -> None:
    for _ in range(30):
        watched.type()
        await trio.sleep(0.7)
    assert not watched.suspicions
    assert watched.pair.client.attached


async def test_a_link_that_speaks_again_is_well(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    watched.type()
    await trio.sleep(4)
    assert len(watched.suspicions) == 1
    watched.cable.stall(False)
    await trio.sleep(30)
    assert watched.pair.client.attached
    assert len(watched.suspicions) == 1


async def test_silence_means_nothing_while_we_do_not_listen(
    watched: Watched, autojump_clock: MockClock
) -> None:
    busy = watched.pair.at_client.busy = trio.Event()
    watched.pair.server.send(DATA, b"for a terminal that is stopped")
    await trio.sleep(60)
    assert watched.pair.client.attached
    busy.set()


async def test_a_slow_link_is_given_more_time(watched: Watched, autojump_clock: MockClock) -> None:
    watched.pair.client.round_trip = 1.5
    watched.cable.stall()
    watched.type()
    await trio.sleep(4.9)
    assert not watched.suspicions
    await trio.sleep(1)
    assert watched.suspicions


async def test_a_probe_asks_at_once(watched: Watched, autojump_clock: MockClock) -> None:
    await trio.sleep(2)
    watched.cable.stall()
    sent = watched.pair.client.sent
    watched.liveness.probe()
    watched.liveness.probe()
    assert watched.pair.client.sent == sent + 1
    await trio.sleep(1.1)
    assert watched.suspicions


async def test_a_new_line_starts_afresh(watched: Watched, autojump_clock: MockClock) -> None:
    watched.cable.stall()
    await trio.sleep(2 * INTERVAL_S + 0.1)
    assert not watched.pair.client.attached
    watched.pair.connect(Cable())
    await trio.sleep(30)
    assert watched.pair.client.attached
