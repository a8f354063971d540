"""What the ends of an eternal stream say: read as it was said, and as nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.wire.messages import decode_count, encode_count
from trioet.wire.stream_messages import (
    MAX_MESSAGE,
    Answer,
    Closed,
    Credit,
    Data,
    End,
    Message,
    Part,
    StreamMessage,
    decode_stream_message,
    encode_data,
    encode_stream_message,
)

messages: st.SearchStrategy[StreamMessage] = st.one_of(
    st.builds(Data, st.binary()),
    st.builds(Message, st.binary()),
    st.builds(Part, st.binary(min_size=1)),
    st.just(End()),
    st.builds(Closed, st.booleans()),
    st.builds(Credit, st.integers(0, 2**64 - 1)),
    st.just(Answer()),
)


@given(messages)
def test_what_is_said_is_read(message: StreamMessage) -> None:
    assert decode_stream_message(encode_stream_message(message)) == message


def test_data_is_taken_from_where_it_lies() -> None:
    assert decode_stream_message(encode_data(memoryview(b"abc")[1:])) == Data(b"bc")


@given(st.binary())
def test_whatever_comes_is_a_message_or_an_error(payload: bytes) -> None:
    try:
        message = decode_stream_message(payload)
    except MessageError:
        return
    assert encode_stream_message(message) == payload


@given(st.integers(0, 2**31 - 1))
def test_a_keepalive_that_was_retyped_is_none(count: int) -> None:
    for payload in (b"", encode_count(count)):
        with pytest.raises(MessageError):
            decode_stream_message(payload)


@given(messages)
def test_one_that_was_retyped_acknowledges_more_than_can_be_sent(message: StreamMessage) -> None:
    count = decode_count(encode_stream_message(message))
    assert count is None or count > 2**31


@pytest.mark.parametrize(
    "payload",
    [
        *(b"\0", b"\7", b"\2" + bytes(MAX_MESSAGE + 1), b"\3x", b"\4", b"\4\2"),
        *(b"\5", b"\5" + bytes(9), b"\6x", b"\7"),
    ],
)
def test_what_is_no_message(payload: bytes) -> None:
    with pytest.raises(MessageError, match="no message of a stream"):
        decode_stream_message(payload)
