from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import ForgedPacket, HandshakeError, PacketError, TooFarBehind
from trioet.wire.backed import PACKET_OVERHEAD, BackedReader, BackedWriter, ReplayBudget
from trioet.wire.packet import Packet
from trioet.wire.sealing import Direction, SealedBox

KEY = b"12345678901234567890123456789012"


def box() -> SealedBox:
    return SealedBox(KEY, Direction.CLIENT_TO_SERVER)


def writer(count: int = 0, budget: ReplayBudget | None = None) -> BackedWriter:
    made = BackedWriter(box(), budget or ReplayBudget(10**9))
    for number in range(count):
        made.write(1, b"%d" % number)
    return made


def test_packets_are_counted_from_one() -> None:
    assert [writer().write(1, b""), writer(4).write(1, b"")] == [1, 5]


def test_what_was_written_can_be_replayed_and_opened() -> None:
    sender, reader = writer(5), BackedReader(box())

    for ordinal, body in enumerate(sender.bodies(1, 5), 1):
        assert reader.open(ordinal, body) == Packet(1, b"%d" % (ordinal - 1))
        reader.count()

    assert reader.received == 5
    assert "received=5" in repr(reader)


def test_a_repeated_packet_opens_but_is_not_delivered_again() -> None:
    sender, reader = writer(1), BackedReader(box())
    reader.open(1, sender.body(1))
    reader.count()

    assert reader.open(1, sender.body(1)) is None
    assert reader.received == 1


@pytest.mark.parametrize("body", [b"\x01\x01" + bytes(16), b"\x00\x01" + bytes(16), b""])
def test_a_packet_that_does_not_open_moves_no_count(body: bytes) -> None:
    reader = BackedReader(box())
    with pytest.raises((ForgedPacket, PacketError)):
        reader.open(1, body)
    assert reader.received == 0


def test_acknowledged_packets_are_forgotten_when_asked() -> None:
    sender = writer(5)
    sender.acknowledge(3)
    assert sender.oldest == 1
    sender.forget(3)

    assert (sender.oldest, sender.acknowledged) == (4, 3)
    assert sender.body(4)
    with pytest.raises(TooFarBehind, match="oldest is 4"):
        sender.body(3)


def test_acknowledging_counts_down_what_is_in_flight() -> None:
    sender = writer(4)
    size = len(sender.body(1))
    assert sender.unacknowledged_bytes == 4 * size

    sender.acknowledge(3)
    sender.acknowledge(2)  # late news changes nothing
    assert sender.unacknowledged_bytes == size


def test_an_acknowledgement_of_what_was_never_sent_is_refused() -> None:
    with pytest.raises(HandshakeError, match="6 packets of 5"):
        writer(5).acknowledge(6)


def test_a_returning_peer_is_checked_before_anything_is_replayed() -> None:
    sender = writer(5)
    sender.acknowledge(2)
    sender.check_received(2)
    sender.check_received(5)
    with pytest.raises(HandshakeError, match="claims 6 packets of 5"):
        sender.check_received(6)
    with pytest.raises(HandshakeError, match="it has proven 2"):
        sender.check_received(1)


def test_a_peer_that_lacks_forgotten_packets_is_told_apart() -> None:
    sender = writer(5)
    sender.forget_beyond(0, before=4)
    with pytest.raises(TooFarBehind, match="oldest still kept is 4"):
        sender.check_received(2)
    sender.check_received(3)


def test_forgetting_under_pressure_stops_at_what_is_still_needed() -> None:
    sender = writer(5)
    sender.forget_beyond(0, before=3)
    assert sender.oldest == 3
    sender.forget_beyond(10**6, before=5)
    assert sender.oldest == 3
    assert sender.unacknowledged_bytes == 3 * len(sender.body(5))
    sender.acknowledge(1)
    sender.forget_beyond(0, before=6)
    assert (sender.oldest, sender.kept_bytes, sender.unacknowledged_bytes) == (6, 0, 0)


def test_forgetting_acknowledged_packets_under_pressure_keeps_the_books() -> None:
    sender = writer(3)
    sender.acknowledge(2)
    sender.forget_beyond(0, before=3)
    assert sender.unacknowledged_bytes == len(sender.body(3))


@given(st.lists(st.integers(0, 12), max_size=20))
def test_the_budget_always_knows_what_is_kept(moves: list[int]) -> None:
    budget = ReplayBudget(1000)
    first, second = writer(3, budget), writer(2, budget)
    for move in moves:
        if move < 5:
            first.write(1, bytes(move))
        elif move < 10:
            first.forget(move)
        else:
            first.forget_beyond(200, before=first.sent + 1)
        kept = [
            sender.body(n)
            for sender in (first, second)
            for n in range(sender.oldest, sender.sent + 1)
        ]
        assert budget.used == sum(len(body) + PACKET_OVERHEAD for body in kept)
    first.close()
    second.close()
    assert (budget.used, budget.writers) == (0, 0)


def test_only_those_above_an_equal_share_wait_when_memory_is_short() -> None:
    budget = ReplayBudget(4000)
    big, small = writer(20, budget), writer(3, budget)
    assert budget.used > budget.limit

    assert budget.exceeded_by(big.kept_bytes)
    assert not budget.exceeded_by(small.kept_bytes)
    big.forget(20)
    assert not budget.exceeded_by(10**6)


def test_a_writer_says_where_it_stands() -> None:
    assert repr(writer(2)).startswith("<BackedWriter sent=2 acknowledged=0 oldest=1 kept=")


def test_a_size_is_counted_from_the_newest_and_no_further_than_asked() -> None:
    sender = writer(10)
    one = len(sender.body(10))
    assert sender.size_after(10, 1000) == 0
    assert sender.size_after(7, 1000) == 3 * one
    assert sender.size_after(0, 2 * one) == 3 * one
    sender.forget(2)
    with pytest.raises(TooFarBehind):
        sender.size_after(0, 10**6)


def test_of_what_is_acknowledged_no_more_is_kept_than_asked() -> None:
    sender = writer(10)
    sender.acknowledge(6)
    cost = len(sender.body(1)) + PACKET_OVERHEAD
    sender.forget_acknowledged(2 * cost)
    assert sender.oldest == 5
    sender.forget_acknowledged(0)
    assert sender.oldest == 7
    assert sender.kept_bytes == 4 * cost
