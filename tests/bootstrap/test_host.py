from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.host import MAX_PORTS, HostArgument, parse_host, parse_ports
from trioet.errors import UsageError

FULL = "2001:db8:1:2:3:4:5:6"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("box", HostArgument("box")),
        ("box:2023", HostArgument("box", port=2023)),
        ("me@box.example.org", HostArgument("box.example.org", "me")),
        ("me@box:1", HostArgument("box", "me", 1)),
        ("me@corp.example@box", HostArgument("box", "me@corp.example")),
        ("10.0.0.7:65535", HostArgument("10.0.0.7", port=65535)),
        ("::1", HostArgument("::1")),
        ("::1:2022", HostArgument("::1:2022")),
        ("[::1]", HostArgument("::1")),
        ("[::1]:2022", HostArgument("::1", port=2022)),
        ("me@[::1]:2022", HostArgument("::1", "me", 2022)),
        ("fe80::1%eth0", HostArgument("fe80::1%eth0")),
        ("[fe80::1%eth0]:99", HostArgument("fe80::1%eth0", port=99)),
        ("::ffff:10.0.0.1", HostArgument("::ffff:10.0.0.1")),
        (FULL, HostArgument(FULL)),
        (f"{FULL}:2022", HostArgument(FULL, port=2022)),
        ("1:2:3:4:5:6:10.0.0.1", HostArgument("1:2:3:4:5:6:10.0.0.1")),
        ("1:2:3:4:5:6:10.0.0.1:22", HostArgument("1:2:3:4:5:6:10.0.0.1", port=22)),
        ("[box]:22", HostArgument("box", port=22)),
        ("büro", HostArgument("büro")),
        ("box:2022,2023", HostArgument("box", port=2022, more_ports=(2023,))),
        ("me@[::1]:9,8,7", HostArgument("::1", "me", 9, (8, 7))),
        (f"{FULL}:1,2", HostArgument(FULL, port=1, more_ports=(2,))),
    ],
)
def test_a_destination_can_be_written_in_many_ways(text: str, host: HostArgument) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "a host name is missing"),
        ("me@", 4, "a host name is missing"),
        ("@box", 1, "a user name is missing"),
        (":22", 1, "a host name is missing"),
        ("[]:22", 2, "a host name is missing"),
        ("box:", 5, "a port is missing"),
        ("me@box:ssh", 8, "`ssh` is no port"),
        ("box:0", 5, "no port"),
        ("box:65536", 5, "no port"),
        ("box:" + "9" * 5000, 5, "no port"),
        ("box:²", 5, "no port"),
        ("box:+1", 5, "no port"),
        ("box:1,", 7, "a port is missing after `,`"),
        ("box:1,,2", 7, "a port is missing after `,`"),
        ("box:,2", 5, "a port is missing after `:`"),
        ("box:22,ssh,7", 8, "`ssh` is no port"),
        ("me@[::1]:22,0", 13, "`0` is no port"),
        ("box:22, 23", 8, "no port"),
        ("box:7,8,7", 9, "port 7 is named twice"),
        ("box:7,\x1b[2J", 7, "no port"),
        ("box:1,2,3,4,5,6,7,8,9", 21, "more than 8 ports"),
        ("[::1", 1, "never closed"),
        ("[::1]2022", 6, "only a `:port` may follow"),
        ("[::1]:", 7, "a port is missing"),
        ("me@[fe80::1%eth0]:x", 19, "no port"),
        ("a:b:22", 1, r"write `\[address\]:port`"),
        ("1:2:3:4:5:6:7:8:9:10", 1, "no IPv6 address"),
        ("fe80::1%eth0:2022", 1, r"write `\[address\]:port`"),
        ("[a:b]:22", 2, "no IPv6 address"),
        ("-oProxyCommand=x", 1, "cannot begin with `-`"),
        ("-l@box", 1, "cannot begin with `-`"),
        ("me@-box", 4, "cannot begin with `-`"),
        ("a b", 2, "' ' cannot be in a host name"),
        ("$(id)@box", 1, r"'\$' cannot be in a user name"),
        ("me@box;id", 7, "';' cannot be"),
        ("box\x1b[2J", 4, "cannot be"),
    ],
)
def test_a_mistake_is_told_with_its_column(text: str, column: int, problem: str) -> None:
    with pytest.raises(UsageError, match=f"column {column}: .*{problem}") as mistake:
        parse_host(text)

    assert str(mistake.value).isprintable()


@given(st.one_of(st.text(), st.text("[]:@%1fa.-,", max_size=20)))
def test_any_text_is_a_destination_or_a_mistake(text: str) -> None:
    try:
        host = parse_host(text)
    except UsageError as mistake:
        assert "column" in str(mistake)  # noqa: PT017
    else:
        assert parse_host(str(host)) == host


PORTS = st.lists(st.integers(1, 65535), min_size=1, max_size=MAX_PORTS, unique=True)


@given(PORTS)
def test_ports_are_read_as_they_are_written(ports: list[int]) -> None:
    assert parse_ports(",".join(map(str, ports))) == tuple(ports)


@given(PORTS, st.data(), st.sampled_from(["", "0", "65536", "x", "-1", " 1", "1e3", "\x1b[2J"]))
def test_a_mistake_among_ports_is_told_with_its_column(
    ports: list[int], data: st.DataObject, mistake: str
) -> None:
    words = [str(port) for port in ports[: MAX_PORTS - 1]]
    place = data.draw(st.integers(0, len(words)))
    words.insert(place, mistake)
    column = sum(len(word) + 1 for word in words[:place]) + 1
    for text, parse, before in (
        (",".join(words), parse_ports, 0),
        ("box:" + ",".join(words), parse_host, len("box:")),
    ):
        with pytest.raises(UsageError, match=f"column {column + before}: ") as told:
            parse(text)
        assert str(told.value).isprintable()


@given(st.one_of(st.text(), st.text(",0123456789", max_size=30)))
def test_any_text_is_ports_or_a_mistake(text: str) -> None:
    try:
        ports = parse_ports(text)
    except UsageError as mistake:
        assert "column" in str(mistake)  # noqa: PT017
    else:
        assert 1 <= len(ports) == len(set(ports)) <= MAX_PORTS
        assert all(0 < port < 65536 for port in ports)
