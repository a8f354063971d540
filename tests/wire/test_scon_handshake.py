from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded_scon import SESSIONS, connections, load, said, vectors
from trioet.errors import FrameError, HandshakeError
from trioet.wire.scon_handshake import (
    MAX_FRAME,
    Code,
    FrameReader,
    Malformed,
    NewAnswer,
    NewRequest,
    ResumeAnswer,
    ResumeRequest,
    frame,
    parse_new_answer,
    parse_request,
    parse_resume_answer,
)

KEY = b64encode((5).to_bytes(8, "little"))
WORDS = st.binary(max_size=40).filter(lambda word: b"\n" not in word)
COUNTS = st.integers(0, 2**32 - 1)


# Frames


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=50), st.integers(1, 20))
def test_a_frame_is_cut_off_however_it_is_sliced(text: bytes, rest: bytes, size: int) -> None:
    reader, data = FrameReader(), frame(text) + rest
    found = None
    for start in range(0, len(data), size):
        if found is not None:
            break
        found = reader.feed(data[start : start + size])
    assert found == text
    assert rest.startswith(reader.rest())


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=50))
def test_who_reads_what_is_wanted_leaves_the_stream_alone(text: bytes, rest: bytes) -> None:
    reader, data = FrameReader(), frame(text) + rest
    assert reader.idle
    found, read = None, 0
    while found is None:
        wanted = reader.wanted
        found = reader.feed(data[read : read + wanted])
        read += wanted
    assert (found, reader.rest(), data[read:]) == (text, b"", rest)
    assert not reader.idle


def test_an_empty_frame_is_none() -> None:
    with pytest.raises(FrameError, match="0 bytes announced"):
        FrameReader().feed(b"\0\0")


@pytest.mark.parametrize("start", [b"GE", b"PO", b"\x16\x03", (MAX_FRAME + 1).to_bytes(2, "big")])
def test_what_no_honest_client_begins_with_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(FrameError, match="4096 allowed"):
        FrameReader().feed(start)


def test_the_largest_frame_is_taken_and_no_larger_one_is_made() -> None:
    text = b"x" * MAX_FRAME
    assert FrameReader().feed(frame(text)) == text
    with pytest.raises(ValueError, match="4096 allowed"):
        frame(text + b"x")


# Requests


@given(st.integers(0, 2**64 - 1), WORDS, st.integers(0, 2**31), WORDS)
def test_a_new_request_comes_through(public: int, target: bytes, flags: int, more: bytes) -> None:
    request = NewRequest(public, target, flags, more)
    assert parse_request(request.text()) == request


@given(COUNTS, st.integers(-5, 2**40), COUNTS, st.binary(min_size=8, max_size=40))
def test_a_resume_request_comes_through(number: int, index: int, got: int, code: bytes) -> None:
    request = ResumeRequest(number + 1, index, got, code)
    assert parse_request(request.text()) == request
    assert parse_request(request.text() + b"\n") == request


@pytest.mark.parametrize(
    ("text", "target", "flags"),
    [
        (b"0\n" + KEY, b"", 0),
        (b"0\n" + KEY + b"\n", b"", 0),
        (b"0\n" + KEY + b"\ntest1", b"test1", 0),
        (b"0\n" + KEY + b"\n\xff any thing", b"\xff any thing", 0),
        (b"0\n" + KEY + b"\ntest1\n+3", b"test1", 3),
        (b"0\n" + KEY + b"\ntest1\n01\n", b"test1", 1),
        (b"0\n" + b64encode(b"\5" + bytes(7) + b"more") + b"\nx\n0", b"x", 0),
    ],
)
def test_all_forms_of_a_new_request_that_real_clients_send(
    text: bytes, target: bytes, flags: int
) -> None:
    assert parse_request(text) == NewRequest(5, target, flags)


def test_lines_behind_the_fourth_are_for_those_who_know_them() -> None:
    request = parse_request(b"0\n" + KEY + b"\nt\n0\nfifth\nsixth")
    assert request == NewRequest(5, b"t", 0, b"fifth")


@pytest.mark.parametrize(
    "text",
    [
        b"0\n",
        b"0\nBQAAAAAA",
        b"0\nnot base64!!\nt\n0",
        b"0\n" + KEY + b"\nt\n",
        b"0\n" + KEY + b"\nt\none",
        b"00\n" + KEY + b"\nt\n0",
        b"",
        b"hello",
        b"1\n1\n0",
        b"1\n1\n4294967296\n" + KEY,
        b"1\n1\n-1\n" + KEY,
        b"1_0\n1\n0\n" + KEY,
        b" 1\n1\n0\n" + KEY,
        "\u0661\n1\n0\n".encode() + KEY,
        b"1\n" + b"9" * 21 + b"\n0\n" + KEY,
        b"1\n1\n0\nshort",
    ],
)
def test_what_is_no_request_is_said_to_be_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(text)


def test_numbers_are_signed_as_they_are_however_they_were_written() -> None:
    request = parse_request(b"+01\n0002\n+3\n" + KEY)
    assert isinstance(request, ResumeRequest)
    assert request.signed() == b"1\n2\n3\n"


@given(st.binary(max_size=60))
def test_anything_is_a_request_or_refused(text: bytes) -> None:
    for parse in (parse_request, parse_new_answer, parse_resume_answer):
        with suppress(HandshakeError):
            parse(text)


# Answers


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), WORDS)
def test_the_answer_to_a_new_request_comes_through(number: int, public: int, more: bytes) -> None:
    answer = NewAnswer(number, public, more)
    assert parse_new_answer(answer.text()) == answer


@given(COUNTS, st.sampled_from(Code), st.just(b"") | st.binary(min_size=8, max_size=40))
def test_the_answer_to_a_resume_request_comes_through(got: int, code: Code, proof: bytes) -> None:
    answer = ResumeAnswer(got, code, proof)
    assert parse_resume_answer(answer.text()) == answer


def test_a_code_may_be_followed_by_words() -> None:
    assert parse_resume_answer(b"7\n200 OK") == ResumeAnswer(7, 200)


@pytest.mark.parametrize(
    "text", [b"0\n" + KEY, b"4294967296\n" + KEY, b"1", b"x\n" + KEY, b"0\n400"]
)
def test_what_is_no_answer_to_a_new_request(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_new_answer(text)


@pytest.mark.parametrize("text", [b"7", b"-7\n200", b"4294967296\n200", b"7\nOK", b"7\n200\n???"])
def test_what_is_no_answer_to_a_resume_request(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_resume_answer(text)


# As recorded


@pytest.mark.parametrize("vector", vectors()["sessions"], ids=lambda vector: vector["a"])
def test_texts_are_those_of_goscon(vector: dict[str, str | int]) -> None:
    new, answer = str(vector["newreq"]).encode(), str(vector["newresp"]).encode()
    assert parse_request(new).text() == new
    assert parse_new_answer(answer).text() == answer
    resume = str(vector["reusereq"]).encode()
    assert parse_request(resume).text() == resume


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_every_frame_of_a_real_session_is_read_and_written_alike(path: Path) -> None:
    recording = load(path)
    for connection in connections(recording):
        asked = said(recording, connection, "c2s")
        text = FrameReader().feed(asked)
        assert text is not None
        request = parse_request(text)
        assert asked.startswith(frame(request.text()))
        answered = said(recording, connection, "s2c")
        text = FrameReader().feed(answered)
        assert text is not None
        parse = parse_new_answer if isinstance(request, NewRequest) else parse_resume_answer
        assert answered.startswith(frame(parse(text).text()))
