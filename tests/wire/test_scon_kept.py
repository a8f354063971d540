from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import TooFarBehind
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_kept import BLOCK, KeptStream


def kept(*parts: bytes, budget: ReplayBudget | None = None) -> KeptStream:
    stream = KeptStream(budget or ReplayBudget(2**30))
    for part in parts:
        stream.append(part)
    return stream


def read(stream: KeptStream, position: int) -> bytes:
    """All from there on, as a line reads it."""
    found = b""
    while piece := stream.piece(position + len(found)):
        found += piece
    return found


@given(st.lists(st.binary(max_size=3 * BLOCK), max_size=6), st.data())
def test_what_was_appended_is_read_back_from_anywhere_that_is_kept(
    parts: list[bytes], data: st.DataObject
) -> None:
    budget, whole = ReplayBudget(2**30), b"".join(parts)
    stream = kept(*parts, budget=budget)
    assert stream.sent == stream.kept_bytes == budget.used == len(whole)
    stream.forget(data.draw(st.integers(0, len(whole)), "forgotten"))
    position = data.draw(st.integers(stream.oldest, len(whole)), "position")
    assert read(stream, position) == whole[position:]
    assert budget.used == stream.kept_bytes == len(whole) - stream.oldest
    stream.append(b"more")
    assert read(stream, position) == whole[position:] + b"more"
    stream.close()
    assert (budget.used, budget.writers) == (0, 0)


def test_whole_blocks_are_forgotten_and_nothing_that_is_wanted() -> None:
    stream = kept(bytes(3 * BLOCK + 1))
    stream.forget(BLOCK - 1)
    assert stream.oldest == 0
    stream.forget(2 * BLOCK + 5)
    assert stream.oldest == 2 * BLOCK
    stream.forget(0)
    assert stream.oldest == 2 * BLOCK


def test_what_was_forgotten_cannot_be_had() -> None:
    stream = kept(bytes(2 * BLOCK))
    stream.forget(BLOCK)
    with pytest.raises(TooFarBehind, match="byte 5 is no longer kept; the oldest is 16384"):
        stream.piece(5)
    with pytest.raises(TooFarBehind, match="lacks 32768 bytes; 16384 are kept"):
        stream.position(0)
    assert stream.position(BLOCK) == BLOCK


def test_who_claims_more_than_was_sent_is_behind_for_good() -> None:
    stream = kept(b"hello")
    assert stream.position(5) == 5
    with pytest.raises(TooFarBehind):
        stream.position(6)
    with pytest.raises(TooFarBehind):
        stream.position(2**32 - 1)


@given(st.integers(2**32 - 3 * BLOCK, 3 * 2**32), st.integers(0, 2 * BLOCK))
def test_positions_are_found_beyond_four_gigabytes(sent: int, lacks: int) -> None:
    stream = kept()
    first = sent // BLOCK * BLOCK
    stream.sent = stream.oldest = first  # as after so many bytes that were all forgotten
    stream.append(bytes(sent - first) + bytes(2 * BLOCK))
    received = (stream.sent - lacks) & 0xFFFFFFFF
    assert stream.position(received) == stream.sent - lacks


def test_a_kept_stream_says_where_it_is() -> None:
    assert repr(kept(b"hello")) == "<KeptStream oldest=0 sent=5>"
