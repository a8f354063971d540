from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import UsageError
from trioet.server.relay_policy import ANYWHERE, NOWHERE, RelayPolicy, parse_pattern
from trioet.wire.forward import Address


@pytest.mark.parametrize(
    ("pattern", "host", "port", "allowed"),
    [
        ("db1", "db1", 2022, True),
        ("db1", "DB1.", 22, True),
        ("db1", "db10", 2022, False),
        ("db1:2022", "db1", 2022, True),
        ("db1:2022", "db1", 22, False),
        ("db1:*", "db1", 22, True),
        ("*", "anything", 1, True),
        ("*:2022", "anything", 22, False),
        ("*.internal", "db1.internal", 2022, True),
        ("*.internal", "internal", 2022, False),
        ("*.internal", "db1.internal.example", 2022, False),
        ("db?", "db1", 2022, True),
        ("db?", "db", 2022, False),
        ("db.1", "dbx1", 2022, False),
        ("192.0.2.1", "192.0.2.1", 2022, True),
        ("192.0.2.1", "192.0.2.10", 2022, False),
        ("192.0.2.1", "::ffff:192.0.2.1", 2022, True),
        ("10.0.0.0/8", "10.255.0.1", 2022, True),
        ("10.0.0.0/8", "11.0.0.1", 2022, False),
        ("10.0.0.0/8", "10.example", 2022, False),
        ("10.0.0.0/8:2022", "10.0.0.1", 22, False),
        ("[2001:db8::1]", "2001:db8::1", 2022, True),
        ("[2001:db8::1]", "2001:0DB8:0::1", 2022, True),
        ("[2001:db8::/32]:2022", "2001:db8::7", 2022, True),
        ("[2001:db8::/32]:2022", "2001:db8::7", 22, False),
        ("[2001:db8::/32]", "2001:db9::7", 2022, False),
        ("[fe80::/10]", "fe80::1%eth0", 2022, True),
    ],
)
def test_what_a_pattern_means(pattern: str, host: str, port: int, allowed: bool) -> None:
    assert RelayPolicy((parse_pattern(pattern),)).allows(Address(host, port)) is allowed
    assert str(parse_pattern(pattern)) == pattern.removesuffix(":*")


def test_one_of_several_is_enough() -> None:
    policy = RelayPolicy((parse_pattern("db1"), parse_pattern("db2")))
    assert policy.allows(Address("db2", 1))
    assert not policy.allows(Address("db3", 1))


def test_anywhere_and_nowhere() -> None:
    assert ANYWHERE.allows(Address("db1", 1))
    assert not NOWHERE.allows(Address("db1", 1))
    assert [policy.word for policy in (ANYWHERE, NOWHERE)] == ["any", "none"]


@pytest.mark.parametrize(
    "text",
    ["", ":2022", "db1:", "db1:0", "db1:65536", "db1:ssh", "a b", "2001:db8::1", "[db1]",
     "[2001:db8::1", "10.0.0.1/8", "10.0.0.0/33", "[2001:db8::/129]", "a/b"],
)  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_pattern(text)
    assert repr(text) in str(error.value)


@given(st.text(), st.text(), st.integers(1, 65535))
def test_any_text_is_a_pattern_or_refused(text: str, host: str, port: int) -> None:
    with suppress(UsageError):
        pattern = parse_pattern(text)
        assert parse_pattern(str(pattern)) == pattern
        pattern.matches(Address(host, port))
