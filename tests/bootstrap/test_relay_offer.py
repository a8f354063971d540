from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.invitation import MAX_NOISE
from trioet.bootstrap.relay_offer import RelayOffer, RelayReader
from trioet.errors import PeerError, StepFailed, TrioetError

ID = "abcdefghijklmnop"
FIELDS = {"id": ID, "port": 2022, "router": True, "version": "0.1.0"}
LINE = b"TRIOET-RELAY:" + json.dumps(FIELDS).encode() + b"\n"
OFFER = RelayOffer(ID, 2022, True, "0.1.0")


def read(*pieces: bytes) -> RelayOffer | None:
    reader = RelayReader("a")
    for piece in pieces:
        if offer := reader.feed(piece):
            return offer
    return reader.end()


@pytest.mark.parametrize(
    "output",
    [LINE, LINE[:-1], LINE[:-1] + b"\r\n", b"welcome\r\nto a\n" + LINE, LINE + b"bye\n",
     b"no newline: " + LINE, b"TRIOET-RELAY\nTRIOET:{}\n" + LINE],
)  # fmt: skip
def test_an_offer_is_found_in_whatever_else_is_printed(output: bytes) -> None:
    assert read(output) == OFFER
    assert read(*(bytes([byte]) for byte in output)) == OFFER


@pytest.mark.parametrize("output", [b"", b"welcome\n", LINE[13:]])
def test_without_an_offer_there_is_none(output: bytes) -> None:
    assert read(output) is None


@pytest.mark.parametrize(
    "change",
    [{"id": "short"}, {"id": None}, {"id": "é" * 16}, {"id": "/../../etc/passw"}, {"port": 0},
     {"port": True}, {"port": "22"}, {"port": None}, {"port": 65536}],
)  # fmt: skip
def test_an_offer_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PeerError):
        read(b"TRIOET-RELAY:" + json.dumps(FIELDS | change).encode() + b"\n")


@pytest.mark.parametrize("details", [b"", b"{", b"[]", b"[" * 4000])
def test_what_is_no_json_is_refused(details: bytes) -> None:
    with pytest.raises(PeerError):
        read(b"TRIOET-RELAY:" + details + b"\n")


def test_a_host_without_trioet_is_named_and_how_to_install_it() -> None:
    with pytest.raises(StepFailed, match="trioet was not found on the jumphost a") as failed:
        read(b"TRIOET-MISSING\n")
    assert "trioet install a" in failed.value.hint


def test_an_older_trioet_is_recognised() -> None:
    what = "stdin must begin with a line id/passkey_TERM, as `trioet connect` and `et` send it"
    with pytest.raises(StepFailed, match="the trioet on the jumphost a is too old to relay"):
        read(b"TRIOET-ERROR:" + json.dumps({"step": "terminal", "what": what}).encode() + b"\n")


def test_what_the_far_side_says_of_its_failure_is_passed_on() -> None:
    with pytest.raises(StepFailed, match="a: it is forbidden") as failed:
        read(b'TRIOET-ERROR:{"step":"relay","what":"it is forbidden","hint":"ask"}\n' + LINE)
    assert (failed.value.step, failed.value.hint) == ("relay", "ask")


def test_noise_without_end_is_refused() -> None:
    with pytest.raises(StepFailed, match="and no relay"):
        read(b"x" * (MAX_NOISE + 1))


@given(st.binary())
def test_any_output_is_an_offer_none_or_refused(output: bytes) -> None:
    for prefix in (b"", b"TRIOET-RELAY:", b"TRIOET-ERROR:"):
        said = ""
        try:
            found = read(prefix + output)
            assert found is None or len(found.relay_id) == 16
        except TrioetError as error:
            said = str(error)
        assert all(line.isprintable() for line in said.split("\n"))
