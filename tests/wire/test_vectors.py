"""The test vectors that are shipped: what our code makes and reads, and Eternal Terminal does."""

from __future__ import annotations

import pytest

from protocol_vectors import (
    ET_HANDSHAKE,
    ET_PACKETS,
    ID,
    PSK,
    frame,
    our_handshake,
    shipped,
    vectors,
)
from trioet.wire.agreement import KeyPair, PreSharedKey
from trioet.wire.framing import PacketSplitter
from trioet.wire.handshake import first_request
from trioet.wire.introduction import IntroductionOfClient, answer_introduction
from trioet.wire.packet import split_body
from trioet.wire.sealing import Direction, SealedBox
from trioet.wire.stream_messages import decode_stream_message

DIRECTIONS = {"client": Direction.CLIENT_TO_SERVER, "server": Direction.SERVER_TO_CLIENT}


def test_what_is_shipped_is_what_our_code_makes() -> None:
    """If not: `python tests/protocol_vectors.py`, and think."""
    assert shipped() == vectors()


@pytest.mark.parametrize("name", ET_HANDSHAKE)
def test_handshake_messages_are_those_of_eternal_terminal(name: str) -> None:
    assert our_handshake()[name].hex() == ET_HANDSHAKE[name]


@pytest.mark.parametrize("vector", ET_PACKETS)
def test_packets_are_those_of_eternal_terminal(vector: tuple[str, int, int, str, str]) -> None:
    sender, ordinal, kind, payload, expected = vector
    assert frame(sender, ordinal, kind, bytes.fromhex(payload)).hex() == expected


@pytest.mark.parametrize("name", ["packets", "stream"])
def test_packets_open(name: str) -> None:
    found = shipped()
    key = bytes.fromhex(found["passkey"] if name == "packets" else found["introduction"]["passkey"])
    for each in found[name]:
        (body,) = PacketSplitter().feed(bytes.fromhex(each["frame"]))
        kind, sealed = split_body(body)
        payload = SealedBox(key, DIRECTIONS[each["sender"]]).open(each["ordinal"], sealed)
        assert (kind, payload.hex()) == (each["type"], each["payload"])
        if kind == 68:
            assert repr(decode_stream_message(payload)) == each["says"]


def test_both_sides_of_the_introduction_come_to_the_passkey() -> None:
    found = {name: bytes.fromhex(value) for name, value in shipped()["introduction"].items()}
    client = IntroductionOfClient(
        PreSharedKey(found["psk"]), ID, KeyPair.from_secret(found["client_secret"])
    )
    assert client.request == found["request"]
    assert client.feed(found["answer"]) == found["passkey"]
    request, _ = first_request(found["request"])
    answer, passkey = answer_introduction(
        PreSharedKey(PSK), request, KeyPair.from_secret(found["server_secret"])
    )
    assert (answer, passkey) == (found["answer"], found["passkey"])
