"""Segments of KCP: what is whole is read, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import FrameError
from trioet.wire.kcp_segments import HEADER, Command, segments

WORD = st.integers(0, 2**32 - 1)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        found = segments(data)
    except FrameError:
        return
    assert sum(HEADER.size + one.size for one in found) == len(data)


@given(WORD, st.lists(st.tuples(st.sampled_from(Command), WORD, WORD, st.binary()), min_size=1))
def test_what_is_whole_is_read(
    conversation: int, parts: list[tuple[Command, int, int, bytes]]
) -> None:
    datagram = b"".join(
        HEADER.pack(conversation, command, 0, 9, time, number, 0, len(data)) + data
        for command, time, number, data in parts
    )
    assert [(one.command, one.time, one.number, one.size) for one in segments(datagram)] == [
        (command, time, number, len(data)) for command, time, number, data in parts
    ]
    with pytest.raises(FrameError):
        segments(datagram[:-1])


def segment(conversation: int, command: Command, number: int, data: bytes) -> bytes:
    return HEADER.pack(conversation, command, 0, 9, 0, number, 0, len(data)) + data


def test_a_datagram_is_of_one_conversation() -> None:
    one, other = (segment(conversation, Command.PUSH, 0, b"x") for conversation in (1, 2))
    with pytest.raises(FrameError, match="two conversations"):
        segments(one + other)


@pytest.mark.parametrize(
    ("command", "number", "data", "begins"),
    [
        (Command.PUSH, 0, b"x", True),
        (Command.PUSH, 1, b"x", False),
        (Command.PUSH, 0, b"", False),
        (Command.ACK, 0, b"x", False),
    ],
)
def test_a_conversation_begins_with_its_first_data(
    command: Command, number: int, data: bytes, begins: bool
) -> None:
    (only,) = segments(segment(1, command, number, data))
    assert only.begins is begins
