from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.credentials import (
    ALPHABET,
    Credentials,
    bootstrap_line,
    new_credentials,
    new_real_credentials,
    parse_bootstrap_line,
)
from trioet.errors import PeerError

ID = "abcdefghijklmnop"
PASSKEY = "0123456789ABCDEF0123456789abcdef"


def test_new_credentials_ask_the_far_side_for_real_ones() -> None:
    credentials = new_credentials()

    assert credentials.client_id.startswith("XXX")
    assert (len(credentials.client_id), len(credentials.passkey)) == (16, 32)
    assert set(credentials.client_id + credentials.passkey) <= set(ALPHABET)


def test_real_ids_never_look_like_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["XXX" + "a" * 13, "XXb" + "c" * 13, "k" * 32]
    drawn = iter(bytes(ALPHABET.index(letter) for letter in text) for text in texts)
    monkeypatch.setattr("trioet.bootstrap.credentials.urandom", lambda _: next(drawn))

    credentials = new_real_credentials()

    assert credentials.client_id == "XXb" + "c" * 13
    assert credentials.passkey == "k" * 32


def test_credentials_differ_each_time() -> None:
    assert len({new_real_credentials().passkey for _ in range(20)}) == 20


def test_no_repr_shows_a_passkey() -> None:
    assert PASSKEY not in repr(Credentials(ID, PASSKEY))


@given(st.text(ALPHABET, min_size=16, max_size=16), st.text(ALPHABET + "._+-", max_size=64))
def test_a_bootstrap_line_comes_out_as_it_went_in(client_id: str, term: str) -> None:
    credentials = Credentials(client_id, PASSKEY)

    line = bootstrap_line(credentials, term)

    came, term_there = parse_bootstrap_line(line)
    assert (came.client_id, came.passkey) == (client_id, PASSKEY)
    assert term_there == (term or "xterm-256color")


def test_only_the_first_underscore_splits_and_term_keeps_the_others() -> None:
    line = bootstrap_line(Credentials(ID, PASSKEY), "my_odd_term")

    assert line == f"{ID}/{PASSKEY}_my_odd_term\n".encode()
    assert parse_bootstrap_line(line)[1] == "my_odd_term"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\nmore\n"])
def test_a_bootstrap_line_may_end_in_any_way(ending: bytes) -> None:
    line = f"{ID}/{PASSKEY}_xterm".encode() + ending

    credentials, term = parse_bootstrap_line(line)
    assert (credentials.client_id, credentials.passkey, term) == (ID, PASSKEY, "xterm")


def test_a_term_is_cleaned_on_both_sides() -> None:
    assert bootstrap_line(Credentials(ID, PASSKEY), "x;y $(z)\n").endswith(b"_xyz\n")
    assert parse_bootstrap_line(f"{ID}/{PASSKEY}_x`y`\xff".encode())[1] == "xy"
    assert bootstrap_line(Credentials(ID, PASSKEY), "").endswith(b"_xterm-256color\n")


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"junk", f"{ID}/{PASSKEY}\n".encode(), f" {ID}/{PASSKEY}_x".encode()],
)
def test_what_is_no_bootstrap_line_is_refused_without_repeating_it(line: bytes) -> None:
    with pytest.raises(PeerError) as refusal:
        parse_bootstrap_line(line)

    assert PASSKEY not in str(refusal.value)


@given(st.binary())
def test_any_bytes_are_a_bootstrap_line_or_refused(line: bytes) -> None:
    try:
        parse_bootstrap_line(line)
    except PeerError as refusal:
        assert "stdin must begin" in str(refusal)  # noqa: PT017
