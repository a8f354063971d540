from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.forward import Address
from trioet.wire.reach import Failure
from trioet.wire.socks import MAX_NAME, MAX_USER_ID, SocksError, SocksServer

HELLO5 = b"\x05\x01\x00"
METHOD = b"\x05\x00"
UNBOUND = bytes(6)


def request5(address: bytes, port: int = 80, *, command: int = 1) -> bytes:
    return bytes((5, command, 0)) + address + port.to_bytes(2, "big")


def name5(name: bytes) -> bytes:
    return bytes((3, len(name))) + name


def request4(
    address: str, port: int = 80, *, user: bytes = b"", name: bytes | None = None, command: int = 1
) -> bytes:
    behind = b"" if name is None else name + b"\0"
    head = bytes((4, command)) + port.to_bytes(2, "big") + IPv4Address(address).packed
    return head + user + b"\0" + behind


def reply5(code: int) -> bytes:
    return bytes((5, code, 0, 1)) + UNBOUND


def reply4(code: int) -> bytes:
    return bytes((0, code)) + UNBOUND


LONGEST_NAME = b".".join([b"a" * 63] * 4)

REQUESTS = {
    "IPv4": (HELLO5 + request5(b"\x01\x7f\x00\x00\x01"), Address("127.0.0.1", 80)),
    "IPv6": (HELLO5 + request5(b"\x04" + IPv6Address("2001:db8::5").packed, 443),
             Address("2001:db8::5", 443)),
    "name": (HELLO5 + request5(name5(b"example.org"), 65535), Address("example.org", 65535)),
    "name that ends in a dot": (HELLO5 + request5(name5(b"a.")), Address("a.", 80)),
    "name of one letter": (HELLO5 + request5(name5(b"x")), Address("x", 80)),
    "longest name": (HELLO5 + request5(name5(LONGEST_NAME)), Address(LONGEST_NAME.decode(), 80)),
    "number as a name": (HELLO5 + request5(name5(b"fe80::1%eth0")), Address("fe80::1%eth0", 80)),
    "name in Punycode": (HELLO5 + request5(name5(b"xn--bcher-kva.de")),
                         Address("xn--bcher-kva.de", 80)),
    "several methods": (b"\x05\x03\x02\x00\x01" + request5(name5(b"a_b")), Address("a_b", 80)),
    "all methods": (b"\x05\xff" + bytes(range(255)) + request5(name5(b"h")), Address("h", 80)),
    "4": (request4("192.0.2.7", 22, user=b"root"), Address("192.0.2.7", 22)),
    "4, a network's address": (request4("0.0.1.0", 22), Address("0.0.1.0", 22)),
    "4, this host": (request4("0.0.0.0", 22), Address("0.0.0.0", 22)),
    "4a": (request4("0.0.0.1", 443, name=b"example.org"), Address("example.org", 443)),
    "4a, last marker": (request4("0.0.0.255", user=b"me", name=b"h"), Address("h", 80)),
    "4a, all that fits": (
        request4("0.0.0.1", user=b"u" * MAX_USER_ID, name=LONGEST_NAME),
        Address(LONGEST_NAME.decode(), 80),
    ),
}  # fmt: skip

METHODS_ONLY = b"\x05\x02\x01\x02"

REFUSALS = {
    "no methods": (b"\x05\x00", b"\x05\xff", "authentication"),
    "no method of ours": (METHODS_ONLY, b"\x05\xff", "authentication"),
    "BIND": (HELLO5 + request5(name5(b"h"), command=2), METHOD + reply5(7), "BIND"),
    "UDP": (HELLO5 + request5(name5(b"h"), command=3), METHOD + reply5(7), "UDP ASSOCIATE"),
    "no command": (HELLO5 + request5(name5(b"h"), command=9), METHOD + reply5(7), "command 9"),
    "address type": (HELLO5 + request5(b"\x02abc"), METHOD + reply5(8), "address type 2"),
    "other version": (HELLO5 + b"\x04\x01\x00\x01", METHOD + reply5(1), "of version 4"),
    "no name": (HELLO5 + request5(name5(b"")), METHOD + reply5(1), "cannot be the name"),
    "port 0": (HELLO5 + request5(name5(b"host"), 0), METHOD + reply5(5), "host has no port 0"),
    "4, BIND": (request4("192.0.2.7", command=2), reply4(0x5B), "BIND"),
    "4, no command": (request4("192.0.2.7", command=0), reply4(0x5B), "command 0"),
    "4, port 0": (request4("192.0.2.7", 0), reply4(0x5B), "no port 0"),
    "4a, no name": (request4("0.0.0.1", name=b""), reply4(0x5B), "cannot be the name"),
    "4, endless user id": (
        request4("192.0.2.7", user=b"u" * (MAX_USER_ID + 1)), reply4(0x5B), "a user id of more"
    ),
    "4a, endless name": (
        request4("0.0.0.1", name=b"n" * (MAX_NAME + 1)), reply4(0x5B), "a name of more than 255"
    ),
    "HTTP": (b"CONNECT example.org:443 HTTP/1.1\r\n", b"", "an HTTP request came"),
    "http": (b"get /", b"", "an HTTP request came; this port speaks SOCKS 5, 4a and 4"),
    "TLS": (b"\x16\x03\x01", b"", "a TLS handshake"),
    "noise": (b"\x00\x01", b"", "the byte 0x00"),
    "noise of another kind": (b"\xe9", b"", "the byte 0xe9"),
    "SOCKS 6": (b"\x06\x00", b"", "the byte 0x06"),
}  # fmt: skip

IMPOSSIBLE_NAMES = (
    b"a\0b", b"a\nb", b"\x1b[2J", b"b\xc3\xbccher.de", b"a b", b"/run/agent", b"a@b",
    b".", b".a", b"a..b", b"a" * 64, b"\x7f", b"[::1]",
)  # fmt: skip

CASES = {**REQUESTS, **{name: (wire, None) for name, (wire, _, _) in REFUSALS.items()}}


def refused(server: SocksServer, data: bytes) -> SocksError:
    with pytest.raises(SocksError) as raised:
        server.feed(data)
    return raised.value


def converse(pieces: list[bytes]) -> tuple[Address | SocksError | None, bytes, bytes]:
    """What was understood, what the application was sent, and what is left behind it."""
    server, sent, found = SocksServer(), b"", None
    try:
        for piece in pieces:
            found = server.feed(piece)
            sent += server.take_reply()
    except SocksError as error:
        return error, sent + error.reply, b""
    return found, sent, server.rest()


@pytest.mark.parametrize(("wire", "destination"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_names_a_destination_with_its_last_byte(
    wire: bytes, destination: Address
) -> None:
    server = SocksServer()

    assert server.feed(wire[:-1]) is None
    assert server.feed(wire[-1:]) == destination
    assert server.rest() == b""


@pytest.mark.parametrize(("wire", "reply", "why"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_served_is_refused_in_its_own_version(
    wire: bytes, reply: bytes, why: str
) -> None:
    error = refused(SocksServer(), wire)

    assert error.reply == reply
    assert why in str(error)


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES)
def test_a_name_that_no_host_has_is_refused_and_shown_harmless(name: bytes) -> None:
    error = refused(SocksServer(), HELLO5 + request5(name5(name)))

    assert error.reply == METHOD + reply5(1)
    assert str(error).isprintable()
    assert str(error).isascii()


@pytest.mark.parametrize("name", [name for name in IMPOSSIBLE_NAMES if b"\0" not in name])
def test_version_4a_refuses_the_same_names(name: bytes) -> None:
    error = refused(SocksServer(), request4("0.0.0.1", name=name))

    assert error.reply == reply4(0x5B)


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (Failure.REFUSED, 5),
        (Failure.NETWORK_UNREACHABLE, 3),
        (Failure.HOST_UNREACHABLE, 4),
        (Failure.NO_SUCH_HOST, 4),
        (Failure.TIMED_OUT, 4),
        (Failure.NOT_ALLOWED, 2),
        (Failure.GENERAL, 1),
    ],
)
def test_the_application_hears_why_its_connection_failed(why: Failure, code: int) -> None:
    server5, server4 = SocksServer(), SocksServer()
    server5.feed(REQUESTS["IPv4"][0])
    server4.feed(REQUESTS["4"][0])

    assert server5.fail(why) == reply5(code)
    assert server4.fail(why) == reply4(0x5B)


def test_every_failure_has_its_reply() -> None:
    server = SocksServer()
    server.feed(REQUESTS["name"][0])

    assert {server.fail(why)[1] for why in Failure} == {1, 2, 3, 4, 5}


def test_success_is_said_in_the_applications_version() -> None:
    server5, server4, server4a = SocksServer(), SocksServer(), SocksServer()
    server5.feed(REQUESTS["name"][0])
    server4.feed(REQUESTS["4"][0])
    server4a.feed(REQUESTS["4a"][0])

    assert server5.succeed() == reply5(0)
    assert server4.succeed() == server4a.succeed() == reply4(0x5A)


@pytest.mark.parametrize("wire", [b"", b"\x05", HELLO5, REQUESTS["4"][0][:-1]])
def test_who_has_not_asked_yet_gets_no_answer(wire: bytes) -> None:
    server = SocksServer()

    assert server.feed(wire) is None
    assert server.fail(Failure.TIMED_OUT) == b""
    assert server.succeed() == b""


def test_a_method_is_chosen_once_and_before_the_request() -> None:
    server = SocksServer()

    assert server.feed(b"\x05\x01") is None
    assert server.take_reply() == b""
    assert server.feed(b"\x00") is None
    assert server.take_reply() == METHOD
    assert server.take_reply() == b""
    assert server.feed(request5(name5(b"host"))) == Address("host", 80)
    assert server.take_reply() == b""


def test_a_refusal_repeats_nothing_that_was_sent() -> None:
    server = SocksServer()
    server.feed(HELLO5)
    server.take_reply()

    assert refused(server, request5(name5(b"host"), command=2)).reply == reply5(7)


@pytest.mark.parametrize("request_", ["name", "4", "4a"])
def test_what_follows_the_request_belongs_to_the_destination(request_: str) -> None:
    wire, destination = REQUESTS[request_]
    server = SocksServer()

    assert server.feed(wire + b"GET / HT") == destination
    assert server.feed(b"TP/1.0\r\n\0\5") == destination
    assert server.rest() == b"GET / HTTP/1.0\r\n\0\5"
    assert server.rest() == b""


@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(1, 40)), st.binary(max_size=10))
def test_slicing_never_changes_what_is_understood(
    case: str, cuts: list[int], behind: bytes
) -> None:
    wire, destination = CASES[case]
    left, pieces = wire + behind, []
    for size in cuts:
        pieces.append(left[:size])
        left = left[size:]

    understood, sent, rest = converse([*pieces, left])

    if isinstance(understood, SocksError):
        assert (destination, sent) == (None, REFUSALS[case][1])
    else:
        assert understood == destination is not None
        assert sent == (METHOD if wire[0] == 5 else b"")
        assert rest == behind


@given(st.binary(max_size=60))
def test_noise_is_refused_or_understood(noise: bytes) -> None:
    understood, _, _ = converse([noise])

    assert isinstance(understood, SocksError | Address | None)
    assert str(understood).isprintable()


@pytest.mark.parametrize("hello", [HELLO5 + b"\x05\x01\x00", b"\x05\xff", b"\x04\x01\x00\x50"])
def test_nobody_is_listened_to_for_more_than_a_kilobyte(hello: bytes) -> None:
    server = SocksServer()
    server.feed(hello)

    for _ in range(1024 - len(hello)):
        try:
            if server.feed(b"\x01"):
                break
        except SocksError:
            break
    else:
        pytest.fail("still listening")
