"""What is asked of a keeper about looking on, and how that is read."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.server.request import parse_request
from trioet.server.share_request import (
    MAX_EXPIRES_S,
    AnyShareRequest,
    RevokeRequest,
    ShareRequest,
    SharesRequest,
    ShownRequest,
    TakeRequest,
    is_share_request,
    parse_share_request,
)

REQUESTS: list[AnyShareRequest] = [
    ShareRequest("12.3"),
    ShareRequest("12.3", write=True, expires_s=MAX_EXPIRES_S, hide=True),
    ShownRequest("12.3", 7),
    TakeRequest("0123456789abcdef", "2001:db8::/64"),
    TakeRequest("0123456789abcdef"),
    SharesRequest("12.3"),
    RevokeRequest("12.3", 7),
    RevokeRequest("12.3"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_they_arrive_as_they_were(request_: AnyShareRequest) -> None:
    assert is_share_request(request_.encode())
    assert parse_share_request(request_.encode()) == request_


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_an_older_keeper_refuses_them(request_: AnyShareRequest) -> None:
    with pytest.raises(MessageError, match="does not know"):
        parse_request(request_.encode())


def test_what_others_ask_is_none_of_these() -> None:
    assert not is_share_request(b"v=1\0do=status\0")
    assert not is_share_request(b"v=1\0do=shares-of-a-newer-one\0")


@pytest.mark.parametrize(
    ("request_", "record", "instead"),
    [
        (REQUESTS[1], b"session=12.3", b"session="),
        (REQUESTS[1], b"session=12.3", b"session=1\n"),
        (REQUESTS[1], b"session=12.3", b"session=" + b"1" * 65),
        (REQUESTS[1], b"expires=2592000", b"expires=2592001"),
        (REQUESTS[1], b"expires=2592000", b"expires=0"),
        (REQUESTS[1], b"expires=2592000", b"expires=-1"),
        (REQUESTS[1], b"write=yes", b"write"),
        (REQUESTS[2], b"number=7", b"number=x"),
        (REQUESTS[3], b"ticket=0", b"ticket=?"),
        (REQUESTS[3], b"source=2001", b"source=\x1b[2J"),
        (REQUESTS[6], b"number=7", b"number="),
        (REQUESTS[7], b"do=revoke", b"do=forgive"),
    ],
)
def test_what_makes_no_sense_is_refused(
    request_: AnyShareRequest, record: bytes, instead: bytes
) -> None:
    data = request_.encode()
    assert record in data
    with pytest.raises(MessageError):
        parse_share_request(data.replace(record, instead))


@given(st.sampled_from(REQUESTS), st.binary(max_size=80), st.integers(0, 80))
def test_whatever_comes_is_a_request_or_refused(
    request_: AnyShareRequest, data: bytes, at: int
) -> None:
    told = request_.encode()
    with suppress(MessageError):
        read = parse_share_request(told[:at] + data + told[at:])
        assert parse_share_request(read.encode()) == read
