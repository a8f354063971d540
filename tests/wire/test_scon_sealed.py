from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import ForgedPacket, FrameError, HandshakeError, MessageError, PeerError
from trioet.wire.scon_handshake import (
    Code,
    NewAnswer,
    NewRequest,
    ResumeAnswer,
    ResumeRequest,
    parse_new_answer,
    parse_request,
)
from trioet.wire.scon_sealed import (
    MAX_BOX,
    PIECE,
    Kind,
    SealedInward,
    SealedKeys,
    SealedOutward,
    accept,
    accepted,
    conclude,
    offer,
    offered,
)
from trioet.wire.sealing import Direction, SealedBox

OURS, THEIRS = b"c" * 32, b"s" * 32
REQUEST = NewRequest(5, b"target", 1, offer(OURS))
ANSWER = NewAnswer(7, 25)
UP = Direction.CLIENT_TO_SERVER


def ends() -> tuple[SealedOutward, SealedInward]:
    keys = SealedKeys(bytes(32))
    return keys.outward(UP), keys.inward(UP)


def record(plain: bytes, ordinal: int = 1) -> bytes:
    """A record of whatever kind, sealed as the peer would."""
    keys = SealedKeys(bytes(32))
    box = SealedBox(keys._code(b"stream", b""), UP).seal(ordinal, plain)
    return pack(">H", len(box)) + box


# The agreement


@given(st.binary(max_size=64))
def test_both_ends_come_to_the_same_keys(psk: bytes) -> None:
    request = parse_request(REQUEST.text())
    assert isinstance(request, NewRequest)
    assert offered(request)
    answer, theirs = accept(request, ANSWER, THEIRS, psk)
    answer = parse_new_answer(answer.text())
    assert accepted(answer)
    assert conclude(REQUEST, answer, OURS, psk) == theirs
    assert "root" not in repr(theirs)


def test_who_offers_nothing_or_something_unknown_is_not_sealed() -> None:
    assert not offered(NewRequest(5, b"t"))
    assert not offered(NewRequest(5, b"t", 0, b"trioet2 AAAA"))
    assert not accepted(ANSWER)


@pytest.mark.parametrize(
    "changed",
    [
        {"target": b"other"},
        {"flags": 0},
        {"public": 6},
        {"sealing": offer(b"x" * 32)},
    ],
)
def test_a_request_that_was_changed_on_its_way_is_noticed(changed: dict[str, object]) -> None:
    answer, _ = accept(replace(REQUEST, **changed), ANSWER, THEIRS, b"")  # type: ignore[arg-type]
    with pytest.raises(HandshakeError, match="another pre-shared key"):
        conclude(REQUEST, answer, OURS, b"")


def test_an_answer_that_was_changed_on_its_way_is_noticed() -> None:
    answer, _ = accept(REQUEST, ANSWER, THEIRS, b"")
    for other in (replace(answer, session_id=8), replace(answer, public=26)):
        with pytest.raises(HandshakeError, match="another pre-shared key"):
            conclude(REQUEST, other, OURS, b"")


def test_another_pre_shared_key_is_told() -> None:
    answer, _ = accept(REQUEST, ANSWER, THEIRS, b"the right one")
    with pytest.raises(HandshakeError, match="another pre-shared key, or none"):
        conclude(REQUEST, answer, OURS, b"a wrong one")


@pytest.mark.parametrize(
    "line",
    [
        b"trioet1 ",
        b"trioet1 !",
        b"trioet1 " + b64encode(b"short"),
        b"trioet1 " + b64encode(bytes(31)),
        offer(OURS) + b" " + b64encode(bytes(32)),
    ],
)
def test_an_offer_that_is_no_key_is_refused(line: bytes) -> None:
    with pytest.raises(HandshakeError):
        accept(replace(REQUEST, sealing=line), ANSWER, THEIRS, b"")


def test_a_key_of_small_order_makes_no_secret() -> None:
    weak = b"trioet1 " + b64encode(bytes(32))
    with pytest.raises(HandshakeError, match="makes no secret"):
        accept(replace(REQUEST, sealing=weak), ANSWER, THEIRS, b"")


@given(st.binary(max_size=60).filter(lambda line: b"\n" not in line))
def test_whatever_is_offered_is_taken_or_refused(line: bytes) -> None:
    request = replace(REQUEST, sealing=b"trioet1 " + line)
    with pytest.raises(PeerError):
        accept(request, ANSWER, THEIRS, b"")
    with pytest.raises(PeerError):
        conclude(REQUEST, replace(ANSWER, sealing=b"trioet1 " + line), OURS, b"")


def test_proofs_of_a_resume_are_of_that_resume_alone() -> None:
    keys = SealedKeys(b"k" * 32)
    asked = ResumeRequest(1, 2, 3)
    answer = ResumeAnswer(4, Code.OK)
    signed = replace(asked, code=keys.sign(asked))
    proofs = {
        keys.confirm(),
        keys.sign(asked),
        keys.sign(replace(asked, index=3)),
        keys.prove(signed, answer),
        keys.prove(signed, replace(answer, received=5)),
        keys.prove(replace(signed, index=3), answer),
        SealedKeys(bytes(32)).prove(signed, answer),
    }
    assert len(proofs) == 7
    assert keys.prove(signed, replace(answer, proof=b"x" * 32)) == keys.prove(signed, answer)


# Records


@given(st.lists(st.binary(max_size=100)), st.integers(1, 50))
def test_what_goes_in_comes_out_however_it_is_sliced(parts: list[bytes], size: int) -> None:
    outward, inward = ends()
    wire = b"".join(map(outward.seal, parts))
    plain = b"".join(inward.open(wire[i : i + size]) for i in range(0, len(wire), size))
    assert plain == b"".join(parts)
    assert inward.received == len(wire)


def test_a_record_takes_a_piece_and_no_more() -> None:
    outward, inward = ends()
    assert inward.open(outward.seal(bytes(PIECE))) == bytes(PIECE)
    with pytest.raises(FrameError, match=f"{MAX_BOX} allowed"):
        inward.open(pack(">H", MAX_BOX + 1))


def test_acknowledgements_and_ends_are_not_the_programs() -> None:
    outward, inward = ends()
    assert inward.open(outward.ack(2**40)) == b""
    assert (inward.acknowledged, inward.ended, inward.over) == (2**40, False, False)
    assert inward.open(outward.seal(b"last") + outward.record(Kind.END)) == b"last"
    assert (inward.ended, inward.over) == (True, False)
    assert inward.open(outward.record(Kind.OVER)) == b""
    assert inward.over


@pytest.mark.parametrize(
    "plain", [bytes([Kind.ACK]), bytes([Kind.ACK]) + bytes(9), b"\2x", b"\3x", b"\4", b"\xff"]
)
def test_a_record_that_makes_no_sense_costs_its_connection(plain: bytes) -> None:
    _, inward = ends()
    with pytest.raises(MessageError, match=f"kind {plain[0]} "):
        inward.open(record(plain))
    assert inward.received == 0


def test_what_was_forged_comes_again_as_it_was() -> None:
    outward, inward = ends()
    first, second, third = outward.seal(b"one"), outward.seal(b"two"), outward.seal(b"three")
    forged = second[:-1] + bytes([second[-1] ^ 1])
    with pytest.raises(ForgedPacket):
        inward.open(first + forged + third)
    assert inward.received == len(first)
    inward.restart()
    assert inward.open(second + third) == b"onetwothree"
    assert inward.received == len(first + second + third)


def test_half_a_record_counts_for_nothing_and_comes_again_from_its_beginning() -> None:
    outward, inward = ends()
    first, second = outward.seal(b"one"), outward.seal(b"two")
    assert inward.open(first + second[:10]) == b"one"
    assert inward.received == len(first)
    inward.restart()
    assert inward.open(second) == b"two"


def test_a_record_twice_does_not_open() -> None:
    outward, inward = ends()
    sealed = outward.seal(b"pay 10")
    assert inward.open(sealed) == b"pay 10"
    with pytest.raises(ForgedPacket):
        inward.open(sealed)


def test_a_record_turned_round_does_not_open() -> None:
    keys = SealedKeys(bytes(32))
    with pytest.raises(ForgedPacket):
        keys.inward(UP.opposite).open(keys.outward(UP).seal(b"hello"))


@given(st.binary(max_size=200))
def test_strangers_bytes_bring_nothing(data: bytes) -> None:
    _, inward = ends()
    with suppress(PeerError):
        assert inward.open(data) == b""
    assert inward.received == 0
