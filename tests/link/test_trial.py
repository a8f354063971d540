"""Lines on trial: what a stranger who knows the id can and cannot do to a session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import DATA, ID, Pair
from trioet.link.attachment import PROOF_DEADLINE_S
from trioet.link.resumable import MAX_PINNED
from trioet.link.trial import LARGE, LARGE_EVERY_S, MAX_PROVISIONAL, MAX_SOURCES
from trioet.wire.handshake import connect_request_frame, sequence_header_frame
from trioet.wire.messages import ConnectRequest

STRANGER = "198.51.100.1"
HELLO = connect_request_frame(ConnectRequest(ID))


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery:
        made = Pair(nursery)
        made.connect()
        made.client.send(DATA, b"hello")
        await wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


def knock(pair: Pair, *, has: int | None = None, place: str = STRANGER) -> Cable:
    """A stranger comes with the id, claims to have ``has`` packets, and waits."""
    cable = Cable(capacity=128 << 20)
    cable.server.place = place
    header = b"" if has is None else sequence_header_frame(has)
    cable.client.try_send(HELLO + header)
    pair.nursery.start_soon(pair.run_server, cable.server)
    return cable


def carried(cable: Cable) -> int:
    return len(cable.client.back.held)


async def test_who_failed_before_gives_way_to_who_did_not(pair: Pair) -> None:
    for _ in range(5):
        knock(pair).cut()
        await wait_all_tasks_blocked()
    strangers = []
    for _ in range(MAX_PROVISIONAL):
        strangers.append(knock(pair))
        await wait_all_tasks_blocked()

    travellers = []
    for number in range(MAX_PROVISIONAL):
        travellers.append(knock(pair, place=f"203.0.113.{number}"))
        await wait_all_tasks_blocked()
        assert strangers[number].server.closed

    late = knock(pair)
    await wait_all_tasks_blocked()
    assert late.server.closed
    assert not any(cable.server.closed for cable in travellers)
    assert any("failed less often" in end for end in pair.ends)


async def test_a_siege_does_not_keep_the_client_out(pair: Pair, autojump_clock: MockClock) -> None:
    """A hundred takeovers a second, and the client is back over 200 ms of round trip."""
    besieged = True

    async def siege() -> None:
        while besieged:
            knock(pair, has=0)
            await trio.sleep(0.01)

    pair.nursery.start_soon(siege)
    await trio.sleep(1)
    pair.client.drop_proven_line()
    await wait_all_tasks_blocked()

    cable = Cable()
    cable.server.place = "203.0.113.7"
    cable.stall()
    pair.connect(cable)
    pair.client.send(DATA, b"here again")
    for _ in range(4):
        await trio.sleep(0.1)
        cable.stall(False)
        await wait_all_tasks_blocked()
        cable.stall()
    assert pair.at_server.payloads == [b"hello", b"here again"]
    besieged = False


async def test_one_source_forgets_nobody_elses_failures(pair: Pair) -> None:
    """However many sources fail, only so many are remembered."""
    for number in range(2 * MAX_SOURCES):
        knock(pair, place=f"198.51.{number // 256}.{number % 256}").cut()
        await wait_all_tasks_blocked()
    assert len(pair.server._lines.trial._failures) <= MAX_SOURCES


async def offline_with(pair: Pair, size: int) -> None:
    """The client is away, and so many bytes wait for it."""
    pair.client.drop_proven_line()
    await wait_all_tasks_blocked()
    for _ in range(size // 16384):
        pair.server.send(DATA, bytes(16384))


async def test_a_large_catchup_goes_to_unproven_peers_once_in_a_while(
    pair: Pair, autojump_clock: MockClock
) -> None:
    await offline_with(pair, 4 * LARGE)
    for _ in range(20):
        stranger = knock(pair, has=1)
        await trio.sleep(LARGE_EVERY_S / 21)
        had = carried(stranger)
        stranger.cut()
        assert had > 3 * LARGE or had < 1000
    begun = trio.current_time()
    taken = 0
    while trio.current_time() < begun + 3 * LARGE_EVERY_S:
        stranger = knock(pair, has=1)
        await trio.sleep(0.7)
        taken += carried(stranger) > 3 * LARGE
        stranger.cut()
    assert 2 <= taken <= 4


async def test_who_proves_himself_is_served_at_once(pair: Pair, autojump_clock: MockClock) -> None:
    await offline_with(pair, 4 * LARGE)
    stranger = knock(pair, has=1)
    await trio.sleep(0.1)
    assert carried(stranger) > 3 * LARGE
    begun = trio.current_time()
    pair.connect()
    await wait_all_tasks_blocked()
    assert trio.current_time() == begun
    assert len(pair.at_client.payloads) == 4 * LARGE // 16384


async def test_of_those_who_wait_the_best_goes_first(pair: Pair, autojump_clock: MockClock) -> None:
    await offline_with(pair, 4 * LARGE)
    first = knock(pair, has=1)
    await trio.sleep(1)
    first.cut()
    stranger = knock(pair, has=1)
    await trio.sleep(1)
    et = knock(pair, has=1, place="203.0.113.7")  # a C++ client proves itself after its catch-up
    await trio.sleep(LARGE_EVERY_S)
    assert carried(et) > 3 * LARGE
    assert carried(stranger) < 1000


async def test_a_catchup_that_moves_is_given_time(pair: Pair, autojump_clock: MockClock) -> None:
    """64 MiB at 1 MB/s, by a client that says nothing before it has everything."""
    await offline_with(pair, 60 << 20)
    cable = Cable(capacity=65536)
    cable.client.try_send(HELLO + sequence_header_frame(1))
    pair.nursery.start_soon(pair.run_server, cable.server)
    received = 0
    while received < 60 << 20:
        await trio.sleep(0.05)
        with trio.fail_after(1):
            received += len(await cable.client.receive())
    assert trio.current_time() > 3 * PROOF_DEADLINE_S
    assert not cable.server.closed
    await trio.sleep(PROOF_DEADLINE_S + 1)
    assert cable.server.closed


async def test_a_stranger_who_reads_nothing_does_not_stop_the_session(pair: Pair) -> None:
    stranger = Cable(capacity=500)
    stranger.client.try_send(HELLO + sequence_header_frame(0))
    pair.nursery.start_soon(pair.run_server, stranger.server)
    await wait_all_tasks_blocked()
    for _ in range(100):
        assert pair.server.has_room()
        pair.server.send(DATA, bytes(16384))
        await wait_all_tasks_blocked()
    assert len(pair.at_client.payloads) == 100
    assert not stranger.server.closed


async def test_a_line_that_lags_holds_little(pair: Pair) -> None:
    pair.server.agree_acks()
    pair.client.agree_acks()
    stranger = Cable(capacity=500)
    stranger.client.try_send(HELLO + sequence_header_frame(0))
    pair.nursery.start_soon(pair.run_server, stranger.server)
    await wait_all_tasks_blocked()
    for _ in range(2 * MAX_PINNED // 16384):
        pair.server.send(DATA, bytes(16384))
        await wait_all_tasks_blocked()
        assert pair.server.kept_bytes < MAX_PINNED + (512 << 10)
    assert len(pair.at_client.payloads) == 2 * MAX_PINNED // 16384
