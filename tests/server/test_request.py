from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.credentials import Credentials
from trioet.bootstrap.relay_line import MAX_HOST, parse_relay_line, relay_line
from trioet.errors import MessageError, PeerError
from trioet.server.request import OpenRequest, RelayRequest, parse_request

ID = "abcdefghijklmnop"
PASSKEY = "0123456789ABCDEF0123456789abcdef"
GOOD = OpenRequest(Credentials(ID, PASSKEY), "xterm", {b"HOME": b"/root"}).encode()

JUMP = OpenRequest(Credentials(ID, PASSKEY), "x", {}, destination=("far", 2022)).encode()

hosts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
names = st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"=" not in name)
values = st.binary().filter(lambda value: b"\0" not in value)


@given(
    st.dictionaries(names, values),
    st.none() | st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted).map(tuple),
    st.booleans(),
    st.none() | st.tuples(hosts, st.integers(1, 65535)),
)
def test_a_request_comes_out_as_it_went_in(
    environment: dict[bytes, bytes],
    ports: tuple[int, int] | None,
    kill_others: bool,
    destination: tuple[str, int] | None,
) -> None:
    request = OpenRequest(
        Credentials(ID, PASSKEY),
        "xterm",
        environment,
        router_socket="/run/a b/\udcff",
        ports=ports,
        kill_others=kill_others,
        destination=destination,
    )
    came = parse_request(request.encode())
    assert isinstance(came, OpenRequest)
    assert (came.credentials.client_id, came.credentials.passkey) == (ID, PASSKEY)
    assert (came.term, came.router_socket) == ("xterm", "/run/a b/\udcff")
    assert came.environment == environment
    assert (came.ports, came.kill_others) == (ports, kill_others)
    assert came.destination == destination


def test_what_a_newer_terminal_adds_is_passed_over() -> None:
    came = parse_request(GOOD + b"colour=blue\0")
    assert isinstance(came, OpenRequest)
    assert came.term == "xterm"


hosts = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=60)


@given(
    hosts,
    st.integers(1, 65535),
    st.none() | st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted).map(tuple),
)
def test_a_wish_for_a_relay_comes_out_as_it_went_in(
    host: str, port: int, ports: tuple[int, int] | None
) -> None:
    request = RelayRequest(host, port, router_socket="/run/a b/\udcff", ports=ports)
    came = parse_request(request.encode() + b"colour=blue\0")
    assert isinstance(came, RelayRequest)
    assert (came.host, came.port) == (host, port)
    assert (came.router_socket, came.ports) == ("/run/a b/\udcff", ports)
    assert parse_relay_line(relay_line(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"host=db1", b"host="),
        (b"host=db1", b"host=a b"),
        (b"host=db1", b"host=a\nb"),
        (b"host=db1", b"host=" + b"a" * (MAX_HOST + 1)),
        (b"port=2022", b"port="),
        (b"port=2022", b"port=0"),
        (b"port=2022", b"port=65536"),
        (b"port=2022", b"port=-1"),
        (b"port=2022", b"port=" + b"9" * 5000),
        (b"ports=", b"ports=9-7"),
    ],
)
def test_what_leads_nowhere_is_no_relay(good: bytes, bad: bytes) -> None:
    request = RelayRequest("db1", 2022).encode()
    assert isinstance(parse_request(request), RelayRequest)
    with pytest.raises(MessageError):
        parse_request(request.replace(good + b"\0", bad + b"\0"))


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"db1\n", b"db1 0\n", b"db1 2022 3 \n", b" 2022\n", b"a b 2022\n", b"db1 65536\n"],
)
def test_a_line_that_leads_nowhere_is_refused(line: bytes) -> None:
    with pytest.raises(PeerError, match="host port"):
        parse_relay_line(line)


@given(st.binary())
def test_any_line_names_a_place_or_is_refused(line: bytes) -> None:
    with suppress(PeerError):
        host, port = parse_relay_line(line)
        assert parse_relay_line(relay_line(host, port)) == (host, port)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        GOOD.replace(b"do=open", b"do=close"),
        GOOD.replace(b"do=open\0", b""),
        GOOD.replace(ID.encode(), b"short"),
        GOOD.replace(ID.encode(), b"/../../etc/passw"),
        GOOD.replace(PASSKEY.encode(), b"\xff" * 32),
        GOOD.replace(b"ports=", b"ports=0-7"),
        GOOD.replace(b"ports=", b"ports=7"),
        GOOD.replace(b"ports=", b"ports=9-7"),
        GOOD.replace(b"ports=", b"ports=1-65536"),
        GOOD.replace(b"ports=", b"ports=" + b"9" * 5000 + b"-7"),
        GOOD + b"no equals sign\0",
        JUMP.replace(b"host=far", b"host="),
        JUMP.replace(b"host=far", b"host=f r"),
        JUMP.replace(b"host=far", b"host=\xc3\xa4"),
        JUMP.replace(b"host=far", b"host=" + 256 * b"f"),
        JUMP.replace(b"port=2022", b"port="),
        JUMP.replace(b"port=2022", b"port=0"),
        JUMP.replace(b"port=2022", b"port=65536"),
        JUMP.replace(b"port=2022", b"port=" + 5000 * b"9"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError) as refusal:
        parse_request(data)
    assert PASSKEY not in str(refusal.value)


@given(st.binary())
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse_request(data)


def test_an_older_keeper_takes_no_jump_for_a_session_of_its_own() -> None:
    """It knows no other word than open."""
    assert b"do=open" not in JUMP


@pytest.mark.parametrize(
    ("connection", "sshd"),
    [
        (b"192.0.2.9 50000 192.0.2.1 22", {"host": "192.0.2.1", "port": 22}),
        (b"2001:db8::9 50000 fe80::1%eth0 2222", {"host": "fe80::1%eth0", "port": 2222}),
        (b"UNKNOWN 65535 UNKNOWN 65535", None),
        (b"192.0.2.9 50000 192.0.2.1 0", None),
        (b"192.0.2.9 50000 192.0.2.1 x", None),
        (b"192.0.2.9 50000 \xff 22", None),
        (b"192.0.2.9", None),
        (b"", None),
    ],
)
def test_where_the_sshd_listens_is_what_it_says_itself(
    connection: bytes, sshd: dict[str, object] | None
) -> None:
    environment = {b"SSH_CONNECTION": connection}
    assert OpenRequest(Credentials(ID, PASSKEY), "x", environment).sshd == sshd
    assert OpenRequest(Credentials(ID, PASSKEY), "x", {}).sshd is None
