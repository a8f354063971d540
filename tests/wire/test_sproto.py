"""goscon's announcement to a backend, as the real one was recorded."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.sproto import announcement, pack

RECORDED = bytes.fromhex(
    "002e 550308010241020ffc3132372e302eff00302e313a33373232e3340f313237ff002e302e302e313a32"
    "0f31323439"
)
"""The real goscon with `-sproto 3`, called from 127.0.0.1:37224."""


def unpacked(data: bytes) -> bytes:
    """The reverse, by sproto's own description of it."""
    out, at = b"", 0
    while at < len(data):
        mask, at = data[at], at + 1
        if mask == 0xFF:
            size = 8 * (data[at] + 1)
            out, at = out + data[at + 1 : at + 1 + size], at + 1 + size
            continue
        for bit in range(8):
            if mask >> bit & 1:
                out, at = out + data[at : at + 1], at + 1
            else:
                out += b"\0"
    return out


def test_the_recorded_announcement_is_made_again() -> None:
    assert announcement(3, ("127.0.0.1", 37224), ("127.0.0.1", 21249)) == RECORDED


def test_ipv6_is_written_as_go_writes_it() -> None:
    said = unpacked(announcement(3, ("2001:db8::7", 1), ("::1", 2))[2:])

    assert b"[2001:db8::7]:1" in said
    assert b"[::1]:2" in said


def test_ipv4_at_a_socket_of_both_families_is_ipv4() -> None:
    both = announcement(3, ("::ffff:127.0.0.1", 37224), ("::ffff:127.0.0.1", 21249))

    assert both == RECORDED


def test_the_examples_of_sprotos_page() -> None:
    assert pack(bytes.fromhex("080000000300020019000000aa010000")) == bytes.fromhex(
        "5108030231 19aa01".replace(" ", "")
    )
    assert pack(bytes([0x8A] * 30)) == bytes([0xFF, 3, *[0x8A] * 30, 0, 0])


def test_more_full_groups_than_a_count_can_tell_are_told_in_two() -> None:
    packed = pack(b"x" * 8 * 257)

    assert packed[:2] == b"\xff\xff"
    assert packed[2 + 8 * 256 :][:2] == b"\xff\x00"


@given(st.lists(st.sampled_from([b"\0", b"a", b"\xff"]), max_size=600).map(b"".join))
def test_what_was_packed_unpacks(data: bytes) -> None:
    packed = pack(data)

    assert unpacked(packed) == data + bytes(-len(data) % 8)
    assert len(packed) <= len(data) + 8 + 2 * (len(data) // 8 + 1)


@given(st.integers(0, 0x7FFE))
def test_a_type_stands_in_its_field(message_type: int) -> None:
    said = unpacked(announcement(message_type, ("::1", 1), ("::1", 2))[2:])

    assert struct.unpack("<4H", said[:8]) == (3, 2 * message_type + 2, 1, 2)
