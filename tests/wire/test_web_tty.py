"""GoTTY's and ttyd's messages."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.messages import WindowSize
from trioet.wire.web_tty import (
    MAX_HELLO,
    Asked,
    BadMessage,
    Hello,
    Resized,
    Tty,
    Typed,
    Webtty,
    arguments,
)


def test_gottys_first_message() -> None:
    said = '{"Arguments": "?arg=a%20b&x=y&arg=", "AuthToken": "user:pass"}'
    assert Webtty().hello(said) == Hello("user:pass", ("a b", ""))
    assert Webtty().hello("{}") == Hello()


def test_ttyds_first_message() -> None:
    said = b'{"AuthToken": "t", "columns": 80, "rows": 24}'
    assert Tty().hello(said) == Hello("t", size=WindowSize(24, 80))
    assert Tty().hello("{}") == Hello()


@pytest.mark.parametrize(
    "said",
    ["", "1", "[]", "{", '{"AuthToken": 1}', '{"Arguments": []}', " " * (MAX_HELLO + 1),
     "[" * MAX_HELLO, '{"Arguments": "' + "arg=&" * 100 + '"}', '"\\ud800"'],
)  # fmt: skip
def test_first_messages_of_gotty_that_are_none(said: str) -> None:
    with pytest.raises(BadMessage):
        Webtty().hello(said)


@pytest.mark.parametrize(
    "said", [b"", b"\xff", b'{"AuthToken": null}', b'{"columns": 80}', b'{"columns": "a","rows":1}']
)
def test_first_messages_of_ttyd_that_are_none(said: bytes) -> None:
    with pytest.raises(BadMessage):
        Tty().hello(said)


def test_gottys_input() -> None:
    speech = Webtty()
    assert speech.read("1a\u00e9") == Typed("a\u00e9".encode())
    assert speech.read("4base64") is Asked.NOTHING
    assert speech.read("1" + base64.b64encode(b"\0\xff").decode()) == Typed(b"\0\xff")
    with pytest.raises(BadMessage):
        speech.read("1a")
    with pytest.raises(BadMessage):
        speech.read("1\u00e9\u00e9\u00e9\u00e9")
    assert speech.read("4other") is Asked.NOTHING
    assert speech.read("4null") is Asked.NOTHING
    assert speech.read("1aa==") == Typed(b"aa==")


def test_gottys_other_messages() -> None:
    speech = Webtty()
    assert speech.read("2") is Asked.PING
    assert speech.read('3{"COLUMNS": 80.9, "Rows": 24}') == Resized(WindowSize(24, 80))
    assert speech.read(b"1binary") is Asked.NOTHING
    for said in ("", "5", "3", '3{"columns": 0, "rows": 1}', '3{"columns": NaN, "rows": 1}'):
        with pytest.raises(BadMessage):
            speech.read(said)


def test_ttyds_messages() -> None:
    speech = Tty()
    assert speech.read(b"0\0\xff") == Typed(b"\0\xff")
    assert speech.read("0\u00e9") == Typed("\u00e9".encode())
    assert speech.read(b'1{"columns": 80, "rows": 24}') == Resized(WindowSize(24, 80))
    assert [speech.read(said) for said in (b"2", b"3")] == [Asked.PAUSE, Asked.RESUME]
    assert [speech.read(said) for said in (b"", b"9", b"{}")] == [Asked.NOTHING] * 3
    for said in (b"1", b"1{}", b'1{"columns": true, "rows": 1}', b'1{"columns": 1e9, "rows": 1}'):
        with pytest.raises(BadMessage):
            speech.read(said)


def test_what_gottys_page_hears() -> None:
    assert Webtty.output(b"\xff") == "1/w=="
    assert Webtty.pong() == "2"
    assert Webtty.begin("t", {}, None) == ["3t", "665536"]
    assert Webtty.begin("t", {"a": 1}, 10) == ["3t", "665536", "510", '4{"a": 1}']


def test_what_ttyds_page_hears() -> None:
    assert Tty.output(b"\xff") == b"0\xff"
    assert Tty.begin("\u00e9", {"a": 1}) == ["1\u00e9".encode(), b'2{"a": 1}']


def test_too_many_arguments() -> None:
    assert arguments("arg=1&b=2&arg=3") == ("1", "3")
    with pytest.raises(BadMessage):
        arguments("arg=1&" * 100)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60)), st.booleans())
def test_any_message(said: str | bytes, encodes: bool) -> None:
    for speech in (Webtty(), Tty()):
        if encodes:
            speech.read("4base64")
        for read in (speech.hello, speech.read):
            try:
                read(said)
            except BadMessage:
                continue


@given(st.binary(max_size=200))
def test_input_arrives_as_it_was(data: bytes) -> None:
    webtty = Webtty()
    webtty.read("4base64")
    assert webtty.read(Webtty.output(data)) == Typed(data)
    assert Tty().read(Tty.output(data)) == Typed(data)
    assert json.loads(Tty.begin("", {"x": data.hex()})[1][1:]) == {"x": data.hex()}
