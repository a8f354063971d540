from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.install.words import (
    MAX_LINE,
    MAX_WORDS,
    Answer,
    Python,
    Word,
    WordReader,
    parse_python,
    parse_version,
)


def read(data: bytes) -> list[Word]:
    return WordReader().feed(data)


def test_our_lines_are_told_from_noise() -> None:
    said = b"Welcome!\nTRIOET-INSTALL:fact home /home/me and you\n\nTRIOET-INSTALL:done 0\npart"

    assert read(said) == [
        Word("", "Welcome!"),
        Word("fact", "home /home/me and you"),
        Word("done", "0"),
    ]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_how_the_bytes_are_cut_does_not_matter(data: bytes, at: int) -> None:
    data += b"\nTRIOET-INSTALL:done 0\n"
    reader = WordReader()

    words = reader.feed(data[:at]) + reader.feed(data[at:])

    assert words == read(data)
    assert words[-1] == Word("done", "0")


def test_a_line_without_end_costs_no_memory() -> None:
    reader = WordReader()

    for _ in range(100):
        assert reader.feed(b"x" * MAX_LINE) == []
    words = reader.feed(b"\nTRIOET-INSTALL:ready /tmp/a\n")

    assert words == [Word("", "x" * MAX_LINE), Word("ready", "/tmp/a")]


def test_what_is_shown_cannot_move_the_cursor() -> None:
    (word,) = read(b"TRIOET-INSTALL:did \x1b[2Jremoved\r \x07all\n")

    assert word == Word("did", "removed all")


def test_an_answer_is_its_words() -> None:
    answer = Answer()
    for word in read(
        b"TRIOET-INSTALL:fact uv /bin/uv\nTRIOET-INSTALL:taken /x/trioet\nnoise\n"
        b"TRIOET-INSTALL:something later\nTRIOET-INSTALL:done 0\n"
    ):
        answer.add(word)

    assert (answer.facts, answer.taken, answer.status) == ({"uv": "/bin/uv"}, ["/x/trioet"], 0)
    assert not answer.problem


def test_a_failure_is_told_by_what_the_script_says_and_the_last_error_above_it() -> None:
    answer = Answer()
    for word in (
        Word("", "ERROR: no index"),
        Word("", "hint: read the manual"),
        Word("problem", "pip could not"),
        Word("done", "1"),
    ):
        answer.add(word)

    assert answer.problem == "pip could not (ERROR: no index)"


def test_a_failure_without_words_is_one() -> None:
    answer = Answer()
    answer.add(Word("done", "137"))

    assert answer.problem == "it ended with exit status 137"


@pytest.mark.parametrize("text", ["", "x", "-1", "1 2", "1000", "²"])
def test_a_status_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="no exit status"):
        Answer().add(Word("done", text))


def test_words_without_end_are_refused() -> None:
    answer = Answer()
    for _ in range(MAX_WORDS):
        answer.add(Word("problem", "x"))

    with pytest.raises(MessageError, match=str(MAX_WORDS)):
        answer.add(Word("problem", "x"))


def python(**said: object) -> Python:
    return parse_python(json.dumps({"path": "/usr/bin/python3", "version": [3, 12, 1], **said}))


def test_a_python_is_what_it_says_of_itself() -> None:
    found = python(platform="linux-x86_64", glibc="2.36", pip=True, implementation="CPython")

    assert found == Python(
        "/usr/bin/python3", (3, 12, 1), "CPython", "linux-x86_64", (2, 36), (), True
    )
    assert not found.problem


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"version": [3, 9, 2]}, "Python 3.9.2 (/usr/bin/python3) is older than 3.11"),
        ({"version": []}, "/usr/bin/python3 does not run"),
        ({"implementation": "PyPy"}, "Python 3.12.1 (/usr/bin/python3) is PyPy, not CPython"),
        ({"missing": ["venv"]}, "Python 3.12.1 (/usr/bin/python3) is without venv"),
    ],
)
def test_why_a_python_will_not_do(said: dict[str, object], problem: str) -> None:
    assert python(**said).problem == problem


def test_a_python_is_told_once_and_a_broken_one_by_its_name() -> None:
    answer = Answer()
    for text in ("broken /a/python3", 'python {"path": "/b", "version": [3, 12]}') * 2:
        kind, _, rest = text.partition(" ")
        answer.add(Word(kind, rest))

    assert answer.pythons == [Python("/a/python3"), Python("/b", (3, 12))]


@pytest.mark.parametrize(
    "said",
    ["", "[]", "null", "{}", '{"path": 1}', '{"path": "x"}', '{"path": "/x", "version": ["a"]}',
     '{"path": "/x", "version": 3}', "[" * 5000, '{"path": "/x", "version": [3], "missing": 1}',
     '{"path": "/x", "version": [Infinity]}'],
)  # fmt: skip
def test_what_is_no_python_is_refused(said: str) -> None:
    with pytest.raises(MessageError):
        parse_python(said)


@given(st.text() | st.dictionaries(st.text(), st.integers() | st.text()).map(json.dumps))
def test_nothing_said_of_a_python_does_more_than_be_refused(said: str) -> None:
    try:
        found = parse_python(said)
    except MessageError:
        return
    assert isinstance(found.problem, str)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.36", (2, 36)),
        ("1.2.4", (1, 2)),
        ("14", (14,)),
        ("", ()),
        ("a.b", ()),
        ("1." + "9" * 9, ()),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version
