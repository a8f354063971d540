from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import PeerError
from trioet.wire.channels import ChannelData, encode_channel
from trioet.wire.forward import Address
from trioet.wire.forward_messages import (
    ForwardData,
    ForwardRequest,
    ForwardResponse,
    encode_forward_data,
    encode_forward_request,
    encode_forward_response,
)
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    SessionOver,
    WindowSize,
    encode_count,
    encode_session_over,
    encode_stderr,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.sense import Sense

OURS = ("acks", "over", "exec", "channels")

TERMINAL_INFO = Packet(PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(24, 80)))
ALWAYS = [
    Packet(PacketType.KEEP_ALIVE, b""),
    Packet(PacketType.KEEP_ALIVE, encode_count(7)),
    Packet(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(b"typed")),
]
IN_ET = [
    Packet(
        PacketType.PORT_FORWARD_DESTINATION_REQUEST,
        encode_forward_request(ForwardRequest(1, Address("localhost", 80))),
    ),
    Packet(
        PacketType.PORT_FORWARD_DESTINATION_RESPONSE,
        encode_forward_response(ForwardResponse(1, 2, None)),
    ),
    Packet(PacketType.PORT_FORWARD_DATA, encode_forward_data(ForwardData(True, 2, b"data"))),
]
CHANNEL = Packet(PacketType.CHANNEL, encode_channel(ChannelData(1, b"data")))
OF_OUR_CLIENT = [
    TERMINAL_INFO,
    Packet(PacketType.SESSION_OVER, encode_session_over(SessionOver(reason=LEFT))),
    Packet(PacketType.STDIN_EOF, END_OF_INPUT),
    CHANNEL,
]
OF_OUR_SERVER = [
    Packet(PacketType.SESSION_OVER, encode_session_over(SessionOver(status=0))),
    Packet(PacketType.STDERR, encode_stderr(b"oh")),
    CHANNEL,
]
ALL = [*ALWAYS, *IN_ET, *OF_OUR_CLIENT, *OF_OUR_SERVER]

SPOKEN = [
    ((), True, [*ALWAYS, *IN_ET, TERMINAL_INFO]),
    ((), False, [*ALWAYS, *IN_ET]),
    (OURS, True, [*ALWAYS, *OF_OUR_CLIENT]),
    (OURS, False, [*ALWAYS, *OF_OUR_SERVER]),
]
WHO = ["real client", "real server", "our client", "our server"]


def makes_sense(packet: Packet, features: Collection[str], of_client: bool) -> bool:
    try:
        Sense(features, of_client=of_client).check(packet)
    except PeerError:
        return False
    return True


@pytest.mark.parametrize(("features", "of_client", "spoken"), SPOKEN, ids=WHO)
def test_what_was_agreed_on_makes_sense_and_nothing_else(
    features: Collection[str], of_client: bool, spoken: list[Packet]
) -> None:
    sensible = [packet for packet in ALL if makes_sense(packet, features, of_client)]
    assert {packet.type for packet in sensible} == {packet.type for packet in spoken}
    assert set(spoken) <= set(sensible)


@pytest.mark.parametrize(("features", "of_client", "spoken"), SPOKEN, ids=WHO)
def test_a_packet_that_was_retyped_on_its_way_makes_none(
    features: Collection[str], of_client: bool, spoken: list[Packet]
) -> None:
    """But as a KEEP_ALIVE, whose 8 bytes would be a count that the link knows to be wrong."""
    for packet in spoken:
        for number in set(range(1, 256)) - {packet.type}:
            assert not makes_sense(Packet(number, packet.payload), features, of_client)


@pytest.mark.parametrize("size", [1, 7, 9])
def test_a_sign_of_life_carries_a_count_or_nothing(size: int) -> None:
    assert not makes_sense(Packet(PacketType.KEEP_ALIVE, bytes(size)), OURS, True)


@pytest.mark.parametrize("of_client", [True, False])
def test_what_a_feature_of_a_newer_trioet_brings_is_let_pass(of_client: bool) -> None:
    agreed = (*OURS, "telepathy")
    newer = [Packet(number, b"?") for number in (PacketType.CHANNEL + 1, 251)]
    assert all(makes_sense(packet, agreed, of_client) for packet in newer)
    assert not any(makes_sense(packet, OURS, of_client) for packet in newer)
    known = [Packet(number, b"?") for number in (3, PacketType.CHANNEL, 252, 253, 254)]
    assert not any(makes_sense(packet, agreed, of_client) for packet in known)


@given(
    st.integers(0, 255),
    st.binary(),
    st.sets(st.sampled_from([*OURS, "telepathy"])),
    st.booleans(),
)
def test_any_packet_makes_sense_or_is_a_peer_s_error(
    packet_type: int, payload: bytes, features: set[str], of_client: bool
) -> None:
    with suppress(PeerError):
        Sense(features, of_client=of_client).check(Packet(packet_type, payload))
