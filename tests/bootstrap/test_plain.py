from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.plain import plain


@given(st.one_of(st.text(), st.binary()))
def test_nothing_but_printable_characters_comes_through(text: str | bytes) -> None:
    assert plain(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 日本", "naïve 日本"),
        (" two\n\tlines \r\n", "two lines"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x1bP1$r\x1b\\c\x1b(Bd\x1b7", "cd"),
        ("\x1b[", ""),
        (b"caf\xe9", "caf\ufffd"),
    ],
)
def test_sequences_go_and_words_stay(text: str | bytes, shown: str) -> None:
    assert plain(text) == shown
