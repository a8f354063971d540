"""Heads of HTTP requests: what is understood, and what two servers might understand differently."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import PeerError
from trioet.wire.web_http import MAX_BODY, BadRequest, answer_head, parameters, parse_head

HOST = b"Host: localhost"


def head(*lines: bytes, first: bytes = b"GET /a%20b?c=d&c=e&f= HTTP/1.1") -> bytes:
    return b"\r\n".join([first, HOST, *lines])


def test_a_request() -> None:
    request = parse_head(head(b"Accept:  gzip , br\t", b"accept: x", b"COOKIE: a=b; c=d=e"))
    assert (request.method, request.path, request.version) == ("GET", "/a b", "HTTP/1.1")
    assert request.parameters() == [("c", "d"), ("c", "e"), ("f", "")]
    assert request.fields["accept"] == "gzip , br, x"
    assert request.has_option("accept", "br")
    assert [request.cookie(name) for name in ("a", "c", "x")] == ["b", "d=e", ""]
    assert request.length == 0
    assert request.keeps_alive
    assert not request.wants_websocket


def test_one_that_wants_a_websocket() -> None:
    lines = b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"
    assert parse_head(head(*lines)).wants_websocket
    assert not parse_head(head(lines[1])).wants_websocket


@pytest.mark.parametrize(
    ("first", "lines"),
    [(b"GET / HTTP/1.0", []), (b"GET / HTTP/1.1", [b"Connection: Close"])],
)
def test_one_that_is_the_last(first: bytes, lines: list[bytes]) -> None:
    assert not parse_head(head(*lines, first=first)).keeps_alive


@pytest.mark.parametrize(
    "first",
    [b"", b"GET", b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"G\0T / HTTP/1.1",
     b"GET http://localhost/ HTTP/1.1", b"GET * HTTP/1.1", b"GET / HTTP/2.0", b"GET /\x01 HTTP/1.1",
     b"GET /%00 HTTP/1.1", b"GET /%0d%0a HTTP/1.1", b"GET /\xff HTTP/1.1", b" / HTTP/1.1"],
)  # fmt: skip
def test_first_lines_that_are_none(first: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_head(head(first=first))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Transfer-Encoding: chunked"], HTTPStatus.NOT_IMPLEMENTED),
        ([b"Content-Length: 1", b"Content-Length: 1"], HTTPStatus.BAD_REQUEST),
        ([b"Content-Length: 1, 1"], HTTPStatus.BAD_REQUEST),
        ([b"Content-Length: -1"], HTTPStatus.BAD_REQUEST),
        ([b"Content-Length:"], HTTPStatus.BAD_REQUEST),
        ([b"Content-Length: 0x1"], HTTPStatus.BAD_REQUEST),
        ([b"Content-Length: %d" % (MAX_BODY + 1)], HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ([b"Content-Length: " + b"9" * 5000], HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ([b"Host: other"], HTTPStatus.BAD_REQUEST),
        ([b"Origin: a", b"Origin: b"], HTTPStatus.BAD_REQUEST),
        ([b" folded"], HTTPStatus.BAD_REQUEST),
        ([b"Space : x"], HTTPStatus.BAD_REQUEST),
        ([b"No colon"], HTTPStatus.BAD_REQUEST),
        ([b"X: a\rb"], HTTPStatus.BAD_REQUEST),
        ([b"X: a\nb"], HTTPStatus.BAD_REQUEST),
        ([b"X: \x7f"], HTTPStatus.BAD_REQUEST),
        ([b"X: y"] * 200, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_fields_that_make_no_sense(lines: list[bytes], status: HTTPStatus) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_head(head(*lines))
    assert refused.value.status is status
    assert str(refused.value) == refused.value.what


def test_a_request_without_a_host() -> None:
    with pytest.raises(BadRequest, match="Host"):
        parse_head(b"GET / HTTP/1.1")


def test_a_length() -> None:
    assert parse_head(head(b"Content-Length: 12")).length == 12


def test_too_many_parameters() -> None:
    with pytest.raises(BadRequest):
        parameters("&".join(["a=b"] * 100))


def test_an_answer() -> None:
    assert answer_head(HTTPStatus.OK, [("A", "b")]) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb"])
def test_nothing_foreign_becomes_a_field(value: str) -> None:
    with pytest.raises(ValueError, match="end of line"):
        answer_head(HTTPStatus.OK, [("Location", value)])


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for text in (data, head(data), head(first=data)):
        try:
            request = parse_head(text)
        except PeerError:
            continue
        assert request.length <= MAX_BODY
        assert "\r" not in "".join(request.fields.values())
