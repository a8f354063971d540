"""The introduction: both ends come to the same key, and nobody else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import FrameError, HandshakeError, MessageError, PeerError
from trioet.wire.agreement import MIN_PSK, KeyPair, PreSharedKey
from trioet.wire.framing import MAX_HANDSHAKE_FRAME, handshake_frame
from trioet.wire.handshake import Handshake, connect_response_frame, first_request
from trioet.wire.introduction import IntroductionOfClient, answer_introduction
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    Introduction,
    encode_introduction_answer,
)

PSK = PreSharedKey(b"sixteen or more bytes")
ID = b"0123456789abcdef"


def request_of(introduction: IntroductionOfClient) -> ConnectRequest:
    """As a server reads it."""
    (request,) = Handshake.server().feed(introduction.request)
    assert isinstance(request, ConnectRequest)
    return request


def test_both_come_to_the_same_key() -> None:
    client = IntroductionOfClient(PSK, ID)
    answer, at_server = answer_introduction(PSK, request_of(client))

    assert client.feed(answer) == at_server
    assert len(at_server) == 32


def test_an_answer_is_read_however_it_is_sliced() -> None:
    client = IntroductionOfClient(PSK, ID)
    answer, at_server = answer_introduction(PSK, request_of(client))

    told = [client.feed(answer[at : at + 1]) for at in range(len(answer))]
    assert told == [None] * (len(answer) - 1) + [at_server]


def test_every_session_has_a_key_of_its_own() -> None:
    client = IntroductionOfClient(PSK, ID)
    keys = {answer_introduction(PSK, request_of(client))[1] for _ in range(3)}
    keys |= {answer_introduction(PSK, request_of(IntroductionOfClient(PSK, ID)))[1]}
    assert len(keys) == 4


def test_the_door_reads_it_like_any_request() -> None:
    client = IntroductionOfClient(PSK, ID)
    request, rest = first_request(client.request + b"more")
    assert request.client_id == ID
    assert request.introduction is not None
    assert rest == b"more"


def test_a_client_without_the_key_is_refused() -> None:
    client = IntroductionOfClient(PreSharedKey(b"another secret of theirs"), ID)
    with pytest.raises(HandshakeError, match="the client does not hold"):
        answer_introduction(PSK, request_of(client))
    with pytest.raises(HandshakeError, match="no introduction"):
        answer_introduction(PSK, ConnectRequest(ID))


def test_a_server_without_the_key_is_not_believed() -> None:
    keys = KeyPair.fresh()
    client = IntroductionOfClient(PSK, ID, keys)
    theirs = PreSharedKey(b"another secret of theirs")
    answer, _ = answer_introduction(theirs, request_of(IntroductionOfClient(theirs, ID, keys)))
    with pytest.raises(HandshakeError, match="the server does not hold"):
        client.feed(answer)


def test_an_answer_to_another_is_not_believed() -> None:
    answer, _ = answer_introduction(PSK, request_of(IntroductionOfClient(PSK, ID)))
    with pytest.raises(HandshakeError, match="the server does not hold"):
        IntroductionOfClient(PSK, ID).feed(answer)


def test_a_proof_for_one_id_is_none_for_another() -> None:
    given = request_of(IntroductionOfClient(PSK, ID)).introduction
    with pytest.raises(HandshakeError, match="the client does not hold"):
        answer_introduction(PSK, ConnectRequest(b"0123456789abcdeg", introduction=given))


def test_a_refusal_comes_through() -> None:
    refusal = ConnectResponse(ConnectStatus.INVALID_KEY, b"no")
    assert IntroductionOfClient(PSK, ID).feed(connect_response_frame(refusal)) == refusal


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((MAX_HANDSHAKE_FRAME + 1).to_bytes(8, "little"), FrameError, "limit"),
        (b"\xff" * 8, FrameError, "an answer of -1 bytes"),
        (handshake_frame(b"\xff"), MessageError, "not a ConnectResponse"),
        (handshake_frame(b""), MessageError, "without a status"),
        (handshake_frame(b"") + b"x", HandshakeError, "something behind"),
    ],
)
def test_what_is_no_answer(answer: bytes, error: type[PeerError], words: str) -> None:
    with pytest.raises(error, match=words):
        IntroductionOfClient(PSK, ID).feed(answer)


@pytest.mark.parametrize(
    ("public", "words"),
    [(bytes(32), "makes no secret"), (b"short", "a public key of 5 bytes")],
)
def test_public_keys_that_are_none(public: bytes, words: str) -> None:
    proof = PSK.client_proof(ID, public)
    request = ConnectRequest(ID, introduction=Introduction(public, proof))
    with pytest.raises(HandshakeError, match=words):
        answer_introduction(PSK, request)


@pytest.mark.parametrize("size", [1, MIN_PSK - 1])
def test_short_keys_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        PreSharedKey(bytes(size))
    assert repr(PreSharedKey(b"")) == repr(PSK) == "<PreSharedKey>"


@given(st.binary(), st.binary(), st.binary())
def test_whatever_a_server_says_is_an_error_or_nothing(
    junk: bytes, public: bytes, proof: bytes
) -> None:
    answer = handshake_frame(encode_introduction_answer(Introduction(public, proof)))
    for said in (junk, answer):
        try:
            got = IntroductionOfClient(PSK, ID).feed(said)
        except PeerError:
            continue
        assert got is None or isinstance(got, ConnectResponse)
