"""Whom a reverse proxy speaks for."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.web_forwarded import UNIX, proxies, scheme

OURS = proxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", UNIX])


@pytest.mark.parametrize(
    ("peer", "is_proxy"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::9", True),
        ("fe80::1%eth0", False),
        (UNIX, True),
        ("", False),
        ("name.example", False),
    ],
)
def test_peers_that_are_believed(peer: str, *, is_proxy: bool) -> None:
    assert OURS.include(peer) is is_proxy


def test_nobody_is_believed_unless_said() -> None:
    nobody = proxies([])
    assert not any(nobody.include(peer) for peer in ("127.0.0.1", "::1", UNIX, ""))


@pytest.mark.parametrize(
    ("said", "visitor"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("1.1.1.1,198.51.100.1:55555 , [2001:db8::1]:80", "198.51.100.1"),
        ("[2a00::1]", "2a00::1"),
        ("2a00::1", "2a00::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("198.51.100.1, _hidden", "10.0.0.1"),
        ("198.51.100.1, _hidden, 10.0.0.4", "10.0.0.4"),
        ("198.51.100.1, 999.1.1.1", "10.0.0.1"),
        ("198.51.100.1,", "10.0.0.1"),
    ],
)
def test_the_rightmost_who_is_no_proxy_is_the_visitor(said: str, visitor: str) -> None:
    assert OURS.visitor("10.0.0.1", {"x-forwarded-for": said}) == visitor


def test_a_proxy_that_says_nothing_is_the_visitor_itself() -> None:
    assert OURS.visitor("10.0.0.1", {}) == "10.0.0.1"
    assert OURS.visitor(UNIX, {}) == UNIX


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("https", "https"),
        ("HTTP ", "http"),
        ("http, https", "https"),
        ("ws", ""),
        ("", ""),
        ("https,", ""),
    ],
)
def test_schemes(said: str, known: str) -> None:
    assert scheme({"x-forwarded-proto": said}) == known
    assert scheme({}) == ""


@pytest.mark.parametrize("word", ["0.0.0.0/0", "::/0", "name.example", "10.0.0.0/33", ""])
def test_what_is_no_proxy(word: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        proxies([word])


@given(st.text(max_size=80), st.ip_addresses())
def test_whatever_a_visitor_has_made_up_he_is_who_he_is(made_up: str, real: object) -> None:
    visitor = OURS.visitor("10.0.0.1", {"x-forwarded-for": f"{made_up}, {real}"})
    address = ipaddress.ip_address(str(real))
    mapped = getattr(address, "ipv4_mapped", None) or address
    if not OURS.include(str(real)):
        assert visitor == str(mapped)


@given(st.text(alphabet="0123456789abcdef.:[], %", max_size=60))
def test_any_text(said: str) -> None:
    ipaddress.ip_address(OURS.visitor("10.0.0.1", {"x-forwarded-for": said}))
