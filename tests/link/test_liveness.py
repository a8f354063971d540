from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import DATA, Pair
from trioet.link.liveness import ANSWER_PATIENCE_S, BLAME_S, HEAD_START_S, Liveness
from trioet.link.rhythm import BUSY_S, LONGEST_S, Rhythm

INTERVAL_S = 5.0


class Watched:
    """A pair whose client is watched, and what the watch said."""

    def __init__(self, pair: Pair, longest: float = INTERVAL_S) -> None:
        self.pair = pair
        self.suspicions: list[float] = []
        self.liveness = Liveness(pair.client, Rhythm(INTERVAL_S, longest), self._suspect)
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


# The network changes


async def test_a_way_that_moved_makes_the_line_suspect_at_once(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    watched.liveness.probe(moved=True)
    await trio.sleep(0.001)
    assert len(watched.suspicions) == 1
    assert watched.pair.client.attached


async def test_a_line_whose_way_is_the_same_has_a_head_start(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.liveness.probe()
    await trio.sleep(1)
    assert not watched.suspicions
    watched.cable.stall()
    begun = trio.current_time()
    watched.liveness.probe()
    await trio.sleep(1)
    assert [moment - begun for moment in watched.suspicions] == [pytest.approx(HEAD_START_S)]


async def test_each_change_renews_the_suspicion_of_a_line_that_is_silent(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    sent = watched.pair.client.sent
    for _ in range(3):
        watched.liveness.probe()
        await trio.sleep(0.5)
    assert len(watched.suspicions) == 3
    assert watched.pair.client.sent == sent + 1


async def test_a_change_drops_no_line_before_it_was_asked_for_an_interval(
    watched: Watched, autojump_clock: MockClock
) -> None:
    watched.cable.stall()
    for _ in range(15):
        watched.liveness.probe(moved=True)
        await trio.sleep(INTERVAL_S / 10)
    assert watched.pair.client.attached


async def test_a_process_that_was_stopped_asks_before_it_judges(mock_clock: MockClock) -> None:
    """Its timers are late, and the answer to what it asked before may lie unread."""
    async with trio.open_nursery() as nursery:
        stopped = Watched(Pair(nursery))
        nursery.start_soon(stopped.liveness.run)
        await wait_all_tasks_blocked()
        stopped.cable.stall()
        stopped.liveness.probe()
        await wait_all_tasks_blocked()
        mock_clock.jump(100 * INTERVAL_S)
        await wait_all_tasks_blocked()
        assert stopped.pair.client.attached
        for _ in range(11):
            mock_clock.jump(INTERVAL_S / 10)
            await wait_all_tasks_blocked()
        assert not stopped.pair.client.attached
        nursery.cancel_scope.cancel()


# A rhythm that grows


@pytest.fixture
async def quiet(autojump_clock: MockClock) -> AsyncIterator[Watched]:
    async with trio.open_nursery() as nursery:
        made = Watched(Pair(nursery), LONGEST_S)
        nursery.start_soon(made.liveness.run)
        await trio.sleep(0.1)
        yield made
        nursery.cancel_scope.cancel()


async def test_both_ends_bear_an_idle_line_and_its_long_silences(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    before = quiet.pair.client.sent
    await trio.sleep(3600)
    assert quiet.pair.client.sent - before == 3600 / LONGEST_S
    assert quiet.pair.client.attached
    assert quiet.pair.server.attached
    assert not quiet.suspicions
    assert not quiet.pair.ends


async def test_a_key_after_a_long_silence_tests_the_line_and_does_not_drop_it(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600 + LONGEST_S / 2)
    quiet.cable.stall()
    quiet.type()
    await trio.sleep(2 * ANSWER_PATIENCE_S)
    assert len(quiet.suspicions) == 1
    assert quiet.pair.client.attached
    await trio.sleep(2 * INTERVAL_S)
    assert not quiet.pair.client.attached


async def test_a_line_in_use_again_is_asked_often_again(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    quiet.liveness.used()
    before = quiet.pair.client.sent
    await trio.sleep(BUSY_S)
    assert quiet.pair.client.sent - before >= BUSY_S / INTERVAL_S - 1


async def test_a_silence_that_killed_a_line_is_kept_no_more(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    quiet.cable.stall()
    while not quiet.suspicions:  # noqa: ASYNC110 - it sends no event
        await trio.sleep(0.1)
    quiet.pair.connect(Cable())
    quiet.pair.client.send_keepalive()
    await trio.sleep(1)
    assert quiet.liveness.rhythm.limit == LONGEST_S / 2


async def test_a_network_that_is_gone_for_longer_teaches_nothing(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    quiet.cable.stall()
    await trio.sleep(LONGEST_S + BLAME_S + 1)
    quiet.pair.connect(Cable())
    quiet.pair.client.send_keepalive()
    await trio.sleep(1)
    assert quiet.liveness.rhythm.limit == LONGEST_S


async def test_what_a_change_of_the_network_kills_teaches_nothing(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    quiet.cable.stall()
    await trio.sleep(LONGEST_S)
    quiet.liveness.probe(moved=True)
    quiet.pair.connect(Cable())
    quiet.pair.client.send_keepalive()
    await trio.sleep(1)
    assert quiet.liveness.rhythm.limit == LONGEST_S


async def test_changes_that_are_none_of_ours_keep_no_line_awake(
    quiet: Watched, autojump_clock: MockClock
) -> None:
    await trio.sleep(3600)
    before = quiet.pair.client.sent
    quiet.liveness.probe()
    await trio.sleep(LONGEST_S)
    assert quiet.pair.client.sent - before <= 2
    before = quiet.pair.client.sent
    quiet.liveness.probe(moved=True)
    await trio.sleep(BUSY_S)
    assert quiet.pair.client.sent - before >= BUSY_S / INTERVAL_S - 1
