from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import UsageError
from trioet.proxy.places import ProxyPlace, parse_listen, parse_to
from trioet.wire.forward import Address, UnixPath


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("5432", ProxyPlace(Address("localhost", 5432))),
        ("127.0.0.2:5432", ProxyPlace(Address("127.0.0.2", 5432))),
        ("*:5432", ProxyPlace(Address("*", 5432))),
        ("[::1]:5432", ProxyPlace(Address("::1", 5432))),
        ("::1:5432", ProxyPlace(Address("::1", 5432))),
        ("/run/db.sock", ProxyPlace(UnixPath("/run/db.sock"))),
        ("eternal:*:6622", ProxyPlace(Address("*", 6622), eternal=True)),
        ("eternal:[::1]:6622", ProxyPlace(Address("::1", 6622), eternal=True)),
    ],
)
def test_where_to_listen(text: str, place: ProxyPlace) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("db:5432", ProxyPlace(Address("db", 5432))),
        ("[fe80::1%eth0]:5432", ProxyPlace(Address("fe80::1%eth0", 5432))),
        ("/run/db.sock", ProxyPlace(UnixPath("/run/db.sock"))),
        ("eternal:server:6622", ProxyPlace(Address("server", 6622), eternal=True)),
    ],
)
def test_where_to_go(text: str, place: ProxyPlace) -> None:
    assert parse_to(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "eternal:", "eternal:5432", "eternal:/run/x", "db", "db:", "db:0x1", "me@db:1", "db:1,2"],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    for parse in (parse_listen, parse_to):
        with pytest.raises(UsageError):
            parse(text)


def test_a_port_alone_is_no_place_to_go() -> None:
    with pytest.raises(UsageError):
        parse_to("5432")


@given(st.text() | st.from_regex(r"(eternal:)?[a-z\[\]*:/0-9]{0,20}"))
def test_whatever_is_written_is_a_place_or_refused(text: str) -> None:
    for parse in (parse_listen, parse_to):
        try:
            place = parse(text)
        except UsageError:
            continue
        assert parse(str(place)) == place
