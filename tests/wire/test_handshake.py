from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import FrameError, HandshakeError, MessageError, PeerError
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME, handshake_frame
from trioet.wire.handshake import (
    CaughtUp,
    Event,
    Handshake,
    Missed,
    PeerReceived,
    State,
    catchup_entry,
    catchup_head,
    connect_request_frame,
    connect_response_frame,
    first_request,
    relay_failure_frame,
    sequence_header_frame,
)
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    RelayFailure,
    decode_relay_failure,
)

ID = b"1234567890123456"
NEW, RETURNING = ConnectStatus.NEW_CLIENT, ConnectStatus.RETURNING_CLIENT
REFUSALS = [ConnectStatus.INVALID_KEY, ConnectStatus.MISMATCHED_PROTOCOL]

missed_bodies = st.lists(st.binary(min_size=18, max_size=300), max_size=6)


def response(status: ConnectStatus) -> bytes:
    return connect_response_frame(ConnectResponse(status))


def catchup(bodies: list[bytes]) -> bytes:
    return catchup_head([len(body) for body in bodies]) + b"".join(map(catchup_entry, bodies))


def resumed(received: int, bodies: list[bytes]) -> list[Event]:
    return [PeerReceived(received), *map(Missed, bodies), CaughtUp.CAUGHT_UP]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        # Eternal Terminal specification, appendix A.
        (
            connect_request_frame(ConnectRequest(ID)),
            "1400000000000000 0a10 31323334353637383930313233343536 1006",
        ),
        (response(NEW), "0200000000000000 0801"),
        (response(RETURNING), "0200000000000000 0802"),
        (
            connect_response_frame(
                ConnectResponse(ConnectStatus.INVALID_KEY, b"Client is not registered")
            ),
            "1c00000000000000 0803 1218 436c69656e74206973206e6f742072656769737465726564",
        ),
        (sequence_header_frame(300), "0300000000000000 08ac02"),
        (catchup([]), "0000000000000000"),
        (
            catchup([bytes.fromhex("01000050b28137f728daf6bb85447ce9a725")]),
            "1400000000000000 0a12 01000050b28137f728daf6bb85447ce9a725",
        ),
    ],
)
def test_vectors(frame: bytes, expected: str) -> None:
    assert frame == bytes.fromhex(expected)


def test_a_relays_failure_has_a_frame_of_its_own() -> None:
    failure = RelayFailure(b"relay", b"full")
    assert decode_relay_failure(relay_failure_frame(failure)[8:]) == failure


@given(st.binary(max_size=20), st.booleans(), st.binary(max_size=20))
def test_a_doors_preface_is_a_request_and_what_follows(
    client_id: bytes, relay: bool, rest: bytes
) -> None:
    request = ConnectRequest(client_id, relay=relay)
    assert first_request(connect_request_frame(request) + rest) == (request, rest)


@given(st.binary(max_size=20), st.data())
def test_a_preface_that_is_cut_short_holds_no_request(
    client_id: bytes, data: st.DataObject
) -> None:
    frame = connect_request_frame(ConnectRequest(client_id))
    with pytest.raises(FrameError, match=r"no (whole )?ConnectRequest"):
        first_request(frame[: data.draw(st.integers(0, len(frame) - 1))])


def test_a_preface_of_negative_length_holds_none() -> None:
    with pytest.raises(FrameError, match="no whole ConnectRequest"):
        first_request(b"\xff" * 8 + b"more")


def test_a_new_client_goes_straight_to_packets() -> None:
    client = Handshake.client()
    assert client.feed(response(NEW) + b"packets") == [ConnectResponse(NEW)]
    assert client.state is State.PACKETS
    assert client.rest() == b"packets"


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_the_end(status: ConnectStatus) -> None:
    client = Handshake.client()
    assert client.feed(response(status) + b"more") == [ConnectResponse(status)]
    assert client.state is State.REFUSED
    with pytest.raises(HandshakeError, match="REFUSED"):
        client.rest()


@given(st.integers(0, 9), missed_bodies, st.lists(st.integers(1, 40)))
def test_a_resume_reads_the_same_however_it_is_sliced(
    received: int, bodies: list[bytes], cuts: list[int]
) -> None:
    wire = response(RETURNING) + sequence_header_frame(received) + catchup(bodies) + b"rest"
    client, got = Handshake.client(), []
    for size in cuts:
        got += client.feed(wire[:size])
        wire = wire[size:]
    got += client.feed(wire)
    assert got == [ConnectResponse(RETURNING), *resumed(received, bodies)]
    assert client.rest() == b"rest"


@given(missed_bodies)
def test_each_missed_packet_is_there_as_soon_as_its_last_byte_is(bodies: list[bytes]) -> None:
    client = Handshake.client()
    client.feed(response(RETURNING) + sequence_header_frame(0))
    head, entries = catchup([])[:0] + catchup_head([len(b) for b in bodies]), bodies
    client.feed(head)
    for body in entries:
        entry = catchup_entry(body)
        assert client.feed(entry[:-1]) == []
        assert client.feed(entry[-1:])[0] == Missed(body)


def test_a_server_waits_for_its_own_verdict() -> None:
    server = Handshake.server()
    hello = connect_request_frame(ConnectRequest(ID))
    assert server.feed(hello + sequence_header_frame(3) + catchup([])) == [ConnectRequest(ID)]
    assert server.state.name == "VERDICT"

    assert server.decide(RETURNING) == resumed(3, [])
    assert server.state is State.PACKETS


def test_a_server_that_takes_a_new_client_expects_packets() -> None:
    server = Handshake.server()
    server.feed(connect_request_frame(ConnectRequest(ID)) + b"first")
    assert server.decide(NEW) == []
    assert server.rest() == b"first"


@pytest.mark.parametrize("status", REFUSALS)
def test_a_server_that_refuses_expects_nothing(status: ConnectStatus) -> None:
    server = Handshake.server()
    server.feed(connect_request_frame(ConnectRequest(ID)) + b"more")
    assert server.decide(status) == []
    assert server.state is State.REFUSED


def test_there_is_no_verdict_before_a_request() -> None:
    with pytest.raises(HandshakeError, match="NEW_CLIENT in state REQUEST"):
        Handshake.server().decide(NEW)


@pytest.mark.parametrize("length", [-1, -(2**63), MAX_HANDSHAKE_FRAME + 1, 128 * 2**20 + 1])
def test_a_length_that_no_honest_peer_sends_is_refused_before_it_is_read(length: int) -> None:
    for side in (Handshake.client(), Handshake.server()):
        with pytest.raises(FrameError, match=f"of {length} bytes"):
            side.feed(HANDSHAKE_LENGTH.pack(length))


def test_a_body_that_is_no_message_is_refused() -> None:
    with pytest.raises(MessageError):
        Handshake.server().feed(handshake_frame(b"\xff\xff\xff"))


def resuming(**limits: int) -> Handshake:
    return Handshake(State.CATCHUP, **limits)


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (HANDSHAKE_LENGTH.pack(101), "of 101 bytes announced"),
        (HANDSHAKE_LENGTH.pack(-1), "of -1 bytes announced"),
        (HANDSHAKE_LENGTH.pack(20) + b"\x12\x12" + bytes(18), "tag 0x12"),
        (HANDSHAKE_LENGTH.pack(20) + b"\x0a\x11" + bytes(17), "entry of 17 bytes"),
        (HANDSHAKE_LENGTH.pack(20) + b"\x0a\x13" + bytes(19), "over the end"),
        (HANDSHAKE_LENGTH.pack(99) + b"\x0a\xff\xff\xff\x7f", "entry of 268435455 bytes"),
        (HANDSHAKE_LENGTH.pack(99) + b"\x0a" + b"\x80" * 5, "does not end"),
    ],
)
def test_a_catchup_that_makes_no_sense_is_refused(wire: bytes, complaint: str) -> None:
    with pytest.raises(PeerError, match=complaint):
        resuming(max_catchup=100).feed(wire)


@pytest.mark.parametrize("part", [b"", b"\x0a", b"\x0a\x80", b"\x0a\x80\x80\x80\x80"])
def test_an_entry_that_has_only_begun_waits(part: bytes) -> None:
    assert resuming().feed(HANDSHAKE_LENGTH.pack(99) + part) == []


def test_a_catchup_that_no_peer_would_accept_is_not_begun() -> None:
    with pytest.raises(HandshakeError, match="limit 134217728"):
        catchup_head([16384] * 8192)


def test_long_entries_have_long_lengths() -> None:
    bodies = [bytes(127), bytes(128), bytes(16384)]
    assert resuming().feed(catchup(bodies)) == [*map(Missed, bodies), CaughtUp.CAUGHT_UP]


@given(st.sampled_from(list(State)), st.binary(max_size=60), st.sampled_from(list(ConnectStatus)))
def test_any_bytes_are_read_or_refused(state: State, data: bytes, status: ConnectStatus) -> None:
    side = Handshake(state)
    with suppress(PeerError):
        side.feed(data)
        if side.state is State.VERDICT:
            side.decide(status)
