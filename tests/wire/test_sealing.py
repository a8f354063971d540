from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import ForgedPacket
from trioet.wire.sealing import Direction, SealedBox

KEY = b"12345678901234567890123456789012"
OUT, IN = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT


@pytest.mark.parametrize(
    ("direction", "ordinal", "payload", "sealed"),
    [
        # Eternal Terminal specification, appendix A.
        (OUT, 1, "0800", "8fd03f2f9e9f98f6928ab32faabcca1cd3f5"),
        (OUT, 2, "", "0050b28137f728daf6bb85447ce9a725"),
        (OUT, 3, "0a0161", "6e7b072e8c84463ebdb94ca1897e4ba3257fc9"),
        (OUT, 4, "1018185020002800", "e79eaaf8ce32b55e08a69fed641ad2751d440f3e8c4dc286"),
        (IN, 1, "", "abb6f3f5a0f08f692cd53a61bdb10ae9"),
        (IN, 2, "", "014ad1cbdbcd0d8be842934958f5889f"),
    ],
)
def test_vectors(direction: Direction, ordinal: int, payload: str, sealed: str) -> None:
    box = SealedBox(KEY, direction)
    assert box.seal(ordinal, bytes.fromhex(payload)).hex() == sealed
    assert box.open(ordinal, bytes.fromhex(sealed)).hex() == payload


@given(st.binary(), st.integers(1, 2**40), st.integers(0, 10**6))
def test_one_flipped_bit_is_noticed(payload: bytes, ordinal: int, where: int) -> None:
    box = SealedBox(KEY, OUT)
    sealed = bytearray(box.seal(ordinal, payload))
    sealed[where % len(sealed)] ^= 1 << where % 8
    with pytest.raises(ForgedPacket, match=f"packet {ordinal} "):
        box.open(ordinal, bytes(sealed))


def test_another_ordinal_direction_or_key_does_not_open() -> None:
    sealed = SealedBox(KEY, OUT).seal(7, b"secret")
    for box, ordinal in [
        (SealedBox(KEY, OUT), 8),
        (SealedBox(KEY, IN), 7),
        (SealedBox(bytes(32), OUT), 7),
    ]:
        with pytest.raises(ForgedPacket):
            box.open(ordinal, sealed)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_less_than_a_tag_is_forged(size: int) -> None:
    with pytest.raises(ForgedPacket):
        SealedBox(KEY, IN).open(1, bytes(size))


def test_a_key_of_another_length_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 5"):
        SealedBox(b"short", OUT)
    assert "1234" not in repr(SealedBox(KEY, OUT))


def test_directions_face_each_other() -> None:
    assert OUT.opposite is IN
    assert IN.opposite is OUT
