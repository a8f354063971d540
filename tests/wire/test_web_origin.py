"""Which names are ours, and whose pages may ask."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.web_origin import host_name, is_our_host, is_our_origin


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.:80", "example.com"),
        ("[2001:DB8::1]:80", "2001:db8::1"),
        ("[::1", ""),
        ("a b", ""),
        ("user@a", ""),
        ("a:b", ""),
        ("a:123456", ""),
        ("", ""),
    ],
)
def test_names_of_hosts(authority: str, name: str) -> None:
    assert host_name(authority) == name


@pytest.mark.parametrize(
    ("authority", "ours"),
    [
        ("localhost:8080", True),
        ("x.localhost", True),
        ("term.example:80", True),
        ("192.0.2.1", True),
        ("[::1]:8080", True),
        ("evil.example", False),
        ("notlocalhost", False),
        ("1.2.3.4.evil.example", False),
        ("300.0.0.1", False),
        ("", False),
    ],
)
def test_hosts(authority: str, ours: bool) -> None:
    assert is_our_host(authority, {"term.example"}) is ours


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("http://a.example:8080", "a.example:8080", True),
        ("https://A.example", "a.example", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example:80", "a.example", True),
        ("https://a.example", "a.example:80", False),
        ("http://a.example:8081", "a.example:8080", False),
        ("http://b.example", "a.example", False),
        ("http://a.example/", "a.example", False),
        ("ftp://a.example", "a.example", False),
        ("null", "a.example", False),
        ("", "", False),
        ("http://", "", False),
    ],
)
def test_origins(origin: str, host: str, ours: bool) -> None:
    assert is_our_origin(origin, host, None) is ours


@pytest.mark.parametrize(("spoken", "ours"), [("", True), ("https", True), ("http", False)])
def test_the_scheme_counts_where_it_is_known(spoken: str, *, ours: bool) -> None:
    assert is_our_origin("https://a.example", "a.example", None, spoken) is ours


def test_origins_that_the_operator_allows_match_as_a_whole() -> None:
    allowed = re.compile(r"https://a\.example")
    assert is_our_origin("https://a.example", "elsewhere", allowed)
    assert not is_our_origin("https://a.example.evil.example", "elsewhere", allowed)
    assert not is_our_origin("http://elsewhere", "elsewhere", allowed)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text(origin: str, host: str) -> None:
    is_our_host(host, ())
    if is_our_origin(origin, host, None):
        assert origin.startswith(("http://", "https://"))
