from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import FrameError
from trioet.wire.framing import (
    MAX_PACKET,
    MIN_PACKET,
    PACKET_LENGTH,
    PacketSplitter,
    handshake_frame,
    packet_frame,
)

bodies = st.binary(min_size=MIN_PACKET, max_size=80)


@given(st.lists(bodies), st.lists(st.integers(1, 30)))
def test_slicing_never_changes_the_bodies(sent: list[bytes], cuts: list[int]) -> None:
    splitter = PacketSplitter()
    wire, got = b"".join(map(packet_frame, sent)), []
    for size in cuts:
        got += splitter.feed(wire[:size])
        wire = wire[size:]
    got += splitter.feed(wire)
    assert got == sent
    assert splitter.idle


def test_a_packet_in_the_making_is_held_until_it_is_whole() -> None:
    splitter = PacketSplitter()
    frame = packet_frame(b"x" * 30)

    assert [splitter.feed(frame[i : i + 1]) for i in range(len(frame) - 1)] == [[]] * 33
    assert not splitter.idle
    assert splitter.feed(frame[-1:] + frame) == [b"x" * 30] * 2


@pytest.mark.parametrize("length", [0, 1, MIN_PACKET - 1, MAX_PACKET + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_no_honest_peer_sends_is_refused_at_once(length: int) -> None:
    with pytest.raises(FrameError, match=f"packet of {length} bytes"):
        PacketSplitter().feed(PACKET_LENGTH.pack(length))


def test_a_bad_length_behind_a_good_packet_is_refused_too() -> None:
    with pytest.raises(FrameError):
        PacketSplitter().feed(packet_frame(b"x" * 18) + b"\0\0\0\0")


def test_the_limit_is_the_callers() -> None:
    with pytest.raises(FrameError, match="18 to 20 allowed"):
        PacketSplitter(max_packet=20).feed(packet_frame(b"x" * 21))


def test_handshake_messages_carry_their_length_in_little_endian() -> None:
    assert handshake_frame(b"\x08\x01") == bytes.fromhex("0200000000000000 0801")
    assert handshake_frame(b"") == bytes(8)
