"""Whom a host is to open a session for: the line that ssh brings it, and what it answers."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.credentials import Credentials, parse_bootstrap_line
from trioet.bootstrap.guest_line import MAX_GUEST_LINE, NUMBERS, guest_line, parse_guest_line
from trioet.bootstrap.guest_offer import GuestOffer, GuestReader
from trioet.bootstrap.invitation import MAX_NOISE
from trioet.errors import PeerError, StepFailed, TrioetError

WHO = Credentials("1234567890123456", "1" * 32)
GRANTED = {name: number for number, name in enumerate(NUMBERS)}
LINE = guest_line(WHO, "xterm", ["ls", "-l"], GRANTED, write=True)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(WORDS), st.booleans())
def test_it_arrives_as_it_was(argv: list[str], write: bool) -> None:
    read = parse_guest_line(guest_line(WHO, "xterm", argv, GRANTED, write=write))
    assert read.argv == argv
    assert read.fields.pop("passkey") == WHO.passkey
    numbers = {name: str(number) for name, number in GRANTED.items()}
    said = {"id": WHO.client_id, "term": "xterm", "write": "yes" if write else ""}
    assert read.fields == numbers | said


def test_words_that_are_no_text_arrive_as_they_were() -> None:
    word = b"\xff\xfe".decode(errors="surrogateescape")
    assert parse_guest_line(guest_line(WHO, "x", [word], GRANTED, write=False)).argv == [word]


def test_an_older_trioet_takes_it_for_no_sessions_line() -> None:
    with pytest.raises(PeerError, match="stdin must begin with a line id/passkey_TERM"):
        parse_bootstrap_line(LINE)


def test_the_key_is_not_shown() -> None:
    assert WHO.passkey not in repr(parse_guest_line(LINE))


def test_a_command_that_a_pipe_does_not_hold_is_refused() -> None:
    with pytest.raises(StepFailed, match="a command of more than"):
        guest_line(WHO, "x", ["x" * MAX_GUEST_LINE], GRANTED, write=False)


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[]\n", b"1\n", b"[" * 40_000, b"\xff\n"])
def test_what_is_no_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(PeerError, match="a line of JSON"):
        parse_guest_line(line)


@pytest.mark.parametrize(
    "change",
    [{"argv": None}, {"argv": "ls"}, {"argv": [1]}, {"argv": ["a\0b"]}, {"argv": ["\ud800"]},
     {"id": 1}, {"term": "a\0b"}, {"rows": -1}, {"rows": True}, {"rows": "1"}, {"linger": 1.5},
     {"close_signal": None}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PeerError, match="has to be"):
        parse_guest_line(json.dumps(json.loads(LINE) | change).encode() + b"\n")


@given(st.binary() | st.binary().map(lambda data: LINE[:-1] + data))
def test_a_line_of_anything_is_refused_politely(line: bytes) -> None:
    with contextlib.suppress(PeerError):
        parse_guest_line(line)


# The answer

FIELDS = {"version": "0.1.0", "socket": "/run/x", "ports": [2022, 2023, 2022]}
ANSWER = b"TRIOET-GUEST:" + json.dumps(FIELDS).encode() + b"\n"
OFFER = GuestOffer((2022, 2023), "0.1.0")


def read(*pieces: bytes) -> GuestOffer | None:
    reader = GuestReader("a")
    for piece in pieces:
        if offer := reader.feed(piece):
            return offer
    return reader.end()


@pytest.mark.parametrize(
    "output",
    [ANSWER, ANSWER[:-1], ANSWER[:-1] + b"\r\n", b"welcome\r\nto a\n" + ANSWER, ANSWER + b"bye\n"],
)
def test_an_offer_is_found_in_whatever_else_is_printed(output: bytes) -> None:
    assert read(output) == OFFER
    assert read(*(bytes([byte]) for byte in output)) == OFFER


def test_a_session_with_all_rights_is_no_offer() -> None:
    invitation = f"IDPASSKEY:{WHO.client_id}/{WHO.passkey}\nTRIOET:{{}}\n".encode()
    assert read(invitation) is None


@pytest.mark.parametrize("ports", [None, "2022", [0], [True], ["22"], [65536]])
def test_ports_that_are_none_are_refused(ports: object) -> None:
    with pytest.raises(PeerError):
        read(b"TRIOET-GUEST:" + json.dumps(FIELDS | {"ports": ports}).encode() + b"\n")


def test_an_older_trioet_is_named_and_what_to_do() -> None:
    what = "stdin must begin with a line id/passkey_TERM, as"
    line = b"TRIOET-ERROR:" + json.dumps({"step": "terminal", "what": what}).encode() + b"\n"
    with pytest.raises(StepFailed, match="the trioet on a is too old") as failed:
        read(line)
    assert failed.value.hint == "`trioet install a` updates it there"


def test_what_else_went_wrong_there_is_told() -> None:
    line = b'TRIOET-ERROR:{"step": "keeper", "what": "full", "hint": "wait"}\n' + ANSWER
    with pytest.raises(StepFailed, match="a: full"):
        read(line)


def test_a_host_without_trioet_is_told() -> None:
    with pytest.raises(StepFailed, match="trioet was not found on a"):
        read(b"TRIOET-MISSING\n")


def test_endless_noise_is_given_up() -> None:
    with pytest.raises(StepFailed, match="printed more than"):
        read(b"x" * (MAX_NOISE + 1))


@given(st.lists(st.binary() | st.sampled_from([ANSWER, b"TRIOET-GUEST:", b"TRIOET-ERROR:{}\n"])))
def test_output_of_anything_gives_an_offer_or_an_error(pieces: list[bytes]) -> None:
    with contextlib.suppress(TrioetError):
        read(*pieces)
