"""Seats: who has which, what ids they give, and how a connection is handed over."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from descriptors import descriptors
from trioet.errors import LocalError
from trioet.scon import seats as seats_module
from trioet.scon.directory import LAST_ID
from trioet.scon.seats import (
    HAND_OVER_S,
    LAST_TURN,
    SEATS,
    Neighbour,
    Seat,
    SeatDirectory,
    call,
    receive,
    seat_of,
    take_seat,
)

pytestmark = pytest.mark.filterwarnings("error")


def taken(place: Path, number: int | None = None) -> Seat:
    seat = take_seat(str(place), number)
    assert seat is not None
    return seat


def directory(place: Path, number: int | None = None) -> SeatDirectory:
    made = SeatDirectory(str(place))
    made.sit(taken(place, number))
    return made


@pytest.fixture
def one(runtime_dir: Path) -> Iterator[SeatDirectory]:
    made = directory(runtime_dir)
    yield made
    made.close()


@pytest.fixture
def other(runtime_dir: Path) -> Iterator[SeatDirectory]:
    made = directory(runtime_dir)
    yield made
    made.close()


def test_a_seat_is_for_one_until_it_is_given_up(runtime_dir: Path) -> None:
    seat = taken(runtime_dir, 7)
    assert take_seat(str(runtime_dir), 7) is None

    seat.close()

    taken(runtime_dir, 7).close()
    assert os.listdir(runtime_dir) == ["lock"]


def test_the_seat_of_who_was_killed_is_free(runtime_dir: Path) -> None:
    taken(runtime_dir, 7).sock.close()  # its name stays, as after SIGKILL

    taken(runtime_dir, 7).close()


def test_seats_by_chance_are_free_ones(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats_module, "SEATS", 4)
    three = [taken(runtime_dir) for _ in range(3)]

    assert sorted(seat.number for seat in three) == [1, 2, 3]
    with pytest.raises(LocalError, match="all 3 seats"):
        take_seat(str(runtime_dir))
    for seat in three:
        seat.close()


def test_many_at_once_get_different_seats(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats_module, "SEATS", 9)
    found: list[Seat] = []
    threads = [threading.Thread(target=lambda: found.append(taken(runtime_dir))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({seat.number for seat in found}) == 8
    for seat in found:
        seat.close()


def test_a_directory_that_cannot_be_used_is_named() -> None:
    with pytest.raises(LocalError, match="/no/such/place"):
        take_seat("/no/such/place")


async def test_ids_name_their_seat_and_do_not_come_again_soon(one: SeatDirectory) -> None:
    ids = []
    for _ in range(1000):
        ids.append(await one.claim())
        one.release(ids[-1])

    assert len(set(ids)) == 1000
    assert {seat_of(session_id) for session_id in ids} == {one.seat.number}
    assert all(0 < session_id <= LAST_ID for session_id in ids)


async def test_ids_of_two_processes_are_never_the_same(
    one: SeatDirectory, other: SeatDirectory
) -> None:
    assert one.seat.number != other.seat.number
    assert {await one.claim() for _ in range(300)}.isdisjoint(
        {await other.claim() for _ in range(300)}
    )


async def test_an_id_in_use_is_passed_over_when_all_others_had_their_turn(
    one: SeatDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats_module, "LAST_TURN", 3)
    one._turn = 0

    first = await one.claim()
    later = [await one.claim() for _ in range(3)]
    one.release(later[0])

    assert await one.claim() == later[0]
    assert len({first, *later}) == LAST_TURN % 4 + 1


async def test_an_own_id_is_nobody_elses(one: SeatDirectory) -> None:
    assert await one.find(await one.claim()) is None


async def test_the_ids_of_a_seat_given_up_for_another_are_still_own(
    one: SeatDirectory, runtime_dir: Path
) -> None:
    before = await one.claim()
    one.sit(taken(runtime_dir))

    assert seat_of(await one.claim()) != seat_of(before)
    assert await one.find(before) is None


async def test_an_id_of_a_free_seat_is_nobodys_unless_somebody_elsewhere_has_it(
    one: SeatDirectory,
) -> None:
    free = next(number for number in range(1, SEATS) if number != one.seat.number)
    assert await one.find(free) is None

    asked: list[int] = []

    async def elsewhere(seat: int) -> None:
        asked.append(seat)

    one.elsewhere = elsewhere
    assert await one.find(5 * SEATS + free) is None
    assert asked == [free]


async def test_a_connection_is_handed_over_with_what_was_read(
    one: SeatDirectory, other: SeatDirectory
) -> None:
    before = descriptors()
    ours, theirs = socket.socketpair()
    with ours:
        holder = await one.find(await other.claim())
        assert holder is not None
        await holder.take(theirs, b"read so far")
        assert theirs.fileno() == -1

        got, preface = await receive(other.seat)
        with got:
            got.send(b"hello")
            assert ours.recv(10) == b"hello"
    assert preface == b"read so far"
    assert one.handed_over == 1
    del holder
    assert descriptors() == before


async def test_who_dies_before_the_hand_over_costs_the_connection(
    one: SeatDirectory, other: SeatDirectory
) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        holder = await one.find(await other.claim())
        assert holder is not None
        other.close()

        with pytest.raises(OSError, match="refused"):
            await holder.take(theirs, b"x")
        assert ours.recv(1) == b""


async def test_who_takes_nothing_is_given_up_in_time(
    one: SeatDirectory, other: SeatDirectory, autojump_clock: MockClock
) -> None:
    fill(other.seat)
    ours, theirs = socket.socketpair()
    with ours:
        holder = await one.find(await other.claim())
        assert holder is not None
        before = trio.current_time()

        with pytest.raises(TimeoutError, match="takes nothing"):
            await holder.take(theirs, b"x")

        assert trio.current_time() - before == pytest.approx(HAND_OVER_S)
        assert ours.recv(1) == b""


async def test_a_cancelled_hand_over_leaves_nothing_open(
    one: SeatDirectory, other: SeatDirectory
) -> None:
    fill(other.seat)
    before = descriptors()
    ours, theirs = socket.socketpair()
    with ours:
        holder = await one.find(await other.claim())
        assert holder is not None
        with trio.move_on_after(0.05) as scope:
            await holder.take(theirs, b"x")
        assert scope.cancelled_caught
    del holder
    assert descriptors() == before


def fill(seat: Seat) -> None:
    """Say so much to a seat that its queue is full."""
    caller = call(seat.path)
    assert caller is not None
    with caller, suppress(BlockingIOError):
        while True:
            caller.send(b"x")


async def test_a_message_without_a_connection_or_with_two_is_thrown_away(
    one: SeatDirectory,
) -> None:
    before = descriptors()
    ours, theirs = socket.socketpair()
    caller = call(one.seat.path)
    assert caller is not None
    with ours, theirs, caller:
        caller.send(b"nothing")
        socket.send_fds(caller, [b"two"], [ours.fileno(), theirs.fileno()])
        await Neighbour(caller.dup()).take(theirs.dup(), b"one")

        got, preface = await receive(one.seat)
        got.close()
    assert preface == b"one"
    assert descriptors() == before
