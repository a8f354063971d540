"""What is asked for a guest's session, and how that is read."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.credentials import Credentials
from trioet.errors import MessageError
from trioet.server.guest_request import BEGINS, GuestRequest, parse_guest_request
from trioet.server.request import parse_request
from trioet.session.guest import Grant

WHO = Credentials("1234567890123456", "1" * 32)
GRANT = Grant(
    argv=(b"/bin/sh", b"-c", b"a=b; \xff", b""),
    directory=b"/a=b",
    write=True,
    rows=24,
    columns=80,
    start_s=90,
    linger_s=60,
    close_signal=signal.SIGINT,
    close_timeout_s=3,
)


def test_it_arrives_as_it_was() -> None:
    asked = GuestRequest(WHO, "xterm", {b"A": b"b=c", b"B": b""}, GRANT)
    read = parse_guest_request(asked.encode())
    assert read.grant == GRANT
    assert (read.term, read.environment) == ("xterm", {b"A": b"b=c", b"B": b""})
    assert read.credentials.passkey == WHO.passkey


def test_an_older_keeper_refuses_it() -> None:
    with pytest.raises(MessageError, match="does not know"):
        parse_request(GuestRequest(WHO, "xterm", {}, GRANT).encode())


@pytest.mark.parametrize(
    ("record", "instead"),
    [
        (b"id=1234567890123456", b"id=1"),
        (b"passkey=1", b"passkey=?"),
        (b"arg=/bin/sh", b"arg=sh"),
        (b"rows=24", b"rows=10001"),
        (b"columns=80", b"columns=-1"),
        (b"linger=60", b"linger=9999999999"),
        (b"start=90", b"start=-1"),
        (b"close_signal=2", b"close_signal=0"),
        (b"close_signal=2", b"close_signal=65"),
        (b"close_timeout=3", b"close_timeout="),
        (b"write=yes", b"write"),
    ],
)
def test_what_makes_no_sense_is_refused(record: bytes, instead: bytes) -> None:
    request = GuestRequest(WHO, "xterm", {}, GRANT).encode()
    assert record in request
    with pytest.raises(MessageError):
        parse_guest_request(request.replace(record, instead, 1))


def test_a_program_is_needed() -> None:
    with pytest.raises(MessageError, match="program"):
        parse_guest_request(GuestRequest(WHO, "", {}, Grant(())).encode())


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse_guest_request(BEGINS + data)
