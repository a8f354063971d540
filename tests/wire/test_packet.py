from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import PacketError
from trioet.wire.packet import PacketType, join_body, split_body


@given(st.integers(0, 255), st.binary())
def test_what_is_joined_splits_again(packet_type: int, sealed: bytes) -> None:
    assert split_body(join_body(packet_type, sealed)) == (packet_type, sealed)


@pytest.mark.parametrize("body", [b"", b"\x01"])
def test_a_body_without_flag_and_type_is_refused(body: bytes) -> None:
    with pytest.raises(PacketError, match="at least 2"):
        split_body(body)


def test_a_payload_in_clear_is_refused() -> None:
    with pytest.raises(PacketError, match="flag 0"):
        split_body(b"\x00\x01" + bytes(16))


def test_the_types_are_those_of_the_protocol() -> None:
    assert (PacketType.KEEP_ALIVE, PacketType.TERMINAL_BUFFER, PacketType.TERMINAL_INFO) == (
        0,
        1,
        2,
    )
    assert (PacketType.INITIAL_RESPONSE, PacketType.INITIAL_PAYLOAD) == (252, 253)
    assert all(kind <= 7 or 64 <= kind < 128 or kind >= 252 for kind in PacketType)
