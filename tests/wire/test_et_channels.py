"""Channels in ET's dialect: both of its names for a connection, and what it never says."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded import CLIENT_TO_SERVER, SERVER_TO_CLIENT, TRANSCRIPTS, Transcript, load
from trioet.errors import MessageError
from trioet.wire.backed import BackedReader
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
    Unlisten,
)
from trioet.wire.et_channels import MAX_TOKEN, NO_LIMIT, RESET, EtChannels
from trioet.wire.forward import Address, UnixPath
from trioet.wire.forward_messages import (
    ForwardData,
    ForwardRequest,
    ForwardResponse,
    decode_forward_data,
    decode_forward_request,
    decode_forward_response,
    encode_forward_data,
    encode_forward_request,
    encode_forward_response,
)
from trioet.wire.framing import PacketSplitter
from trioet.wire.handshake import Handshake, State
from trioet.wire.messages import ConnectStatus
from trioet.wire.packet import Packet, PacketType
from trioet.wire.reach import Failure
from trioet.wire.sealing import Direction, SealedBox

REQUEST = PacketType.PORT_FORWARD_DESTINATION_REQUEST
RESPONSE = PacketType.PORT_FORWARD_DESTINATION_RESPONSE
DATA = PacketType.PORT_FORWARD_DATA
WHERE = Address("localhost", 80)


def request(fd: int = 5) -> Packet:
    return Packet(REQUEST, encode_forward_request(ForwardRequest(fd, WHERE)))


def response(fd: int, socket: int = 77, error: bytes | None = None) -> Packet:
    return Packet(RESPONSE, encode_forward_response(ForwardResponse(fd, socket, error)))


def data(from_source: bool, socket: int, text: bytes = b"x") -> Packet:
    return Packet(DATA, encode_forward_data(ForwardData(from_source, socket, text)))


def closed(from_source: bool, socket: int) -> Packet:
    return Packet(DATA, encode_forward_data(ForwardData(from_source, socket, closed=True)))


def read(packet: Packet | None) -> object:
    """A packet of ours, as a peer would read it."""
    assert packet is not None
    match packet.type:
        case PacketType.PORT_FORWARD_DESTINATION_REQUEST:
            return decode_forward_request(packet.payload)
        case PacketType.PORT_FORWARD_DESTINATION_RESPONSE:
            return decode_forward_response(packet.payload)
        case _:
            return decode_forward_data(packet.payload)


@pytest.fixture
def server() -> EtChannels:
    """A server, which speaks with a client."""
    return EtChannels(1)


@pytest.fixture
def ours(server: EtChannels) -> EtChannels:
    """A server that has opened channel 4, to the client's socket 77."""
    assert read(server.encode(ChannelOpen(4, 1, WHERE, 9))) == ForwardRequest(2, WHERE)
    assert server.decode(response(2)) == ChannelOpened(4, NO_LIMIT)
    return server


@pytest.fixture
def theirs(server: EtChannels) -> EtChannels:
    """A server whose client has opened channel 3, which is socket 1."""
    assert server.decode(request(5)) == ChannelOpen(3, 0, WHERE, NO_LIMIT)
    assert read(server.encode(ChannelOpened(3, 9))) == ForwardResponse(5, 1)
    return server


def test_a_channel_that_we_opened_carries_both_ways(ours: EtChannels) -> None:
    assert read(ours.encode(ChannelData(4, b"to"))) == ForwardData(True, 77, b"to")
    assert ours.decode(data(False, 77, b"fro")) == ChannelData(4, b"fro")


def test_a_channel_that_they_opened_carries_both_ways(theirs: EtChannels) -> None:
    assert read(theirs.encode(ChannelData(3, memoryview(b"to")))) == ForwardData(False, 1, b"to")
    assert theirs.decode(data(True, 1, b"fro")) == ChannelData(3, b"fro")


def test_both_tables_have_sockets_of_the_same_number(server: EtChannels) -> None:
    server.decode(request(5))
    server.encode(ChannelOpened(3, 9))
    server.encode(ChannelOpen(4, 1, WHERE, 9))
    server.decode(response(2, socket=1))

    assert server.decode(data(True, 1, b"a")) == ChannelData(3, b"a")
    assert server.decode(data(False, 1, b"b")) == ChannelData(4, b"b")


def test_a_channel_that_they_refuse_says_what_they_say(server: EtChannels) -> None:
    server.encode(ChannelOpen(4, 1, UnixPath("/no/such"), 9))
    refused = server.decode(response(2, error=b"No such file \xe9"))
    assert refused == ChannelRefused(4, Failure.GENERAL, "No such file �")
    assert server.decode(response(2)) is None


def test_a_channel_that_we_refuse_is_told_by_their_name(server: EtChannels) -> None:
    server.decode(request(-3))
    said = server.encode(ChannelRefused(3, Failure.REFUSED, "connection refused"))
    assert read(said) == ForwardResponse(-3, error=b"connection refused")
    assert server.decode(data(True, 1)) is None


def test_a_refusal_that_names_a_path_of_any_bytes_can_be_said(server: EtChannels) -> None:
    server.decode(request())
    said = server.encode(ChannelRefused(3, Failure.GENERAL, "/caf\udce9"))
    assert read(said) == ForwardResponse(5, error=b"/caf?")


@pytest.mark.parametrize(
    ("end", "payload"),
    [
        (ChannelEnd(4), ForwardData(True, 77, closed=True)),
        (ChannelReset(4), ForwardData(True, 77, error=RESET)),
    ],
)
def test_what_we_end_is_over_both_ways(
    ours: EtChannels, end: ChannelMessage, payload: ForwardData
) -> None:
    assert read(ours.encode(end)) == payload
    assert ours.encode(ChannelData(4, b"late")) is None
    assert ours.encode(end) is None
    assert ours.decode(data(False, 77)) is None


@pytest.mark.parametrize(
    ("error", "end"), [(None, ChannelEnd(3)), (b"Broken pipe", ChannelReset(3))]
)
def test_what_they_end_is_over_both_ways(
    theirs: EtChannels, error: bytes | None, end: ChannelMessage
) -> None:
    said = ForwardData(True, 1, closed=error is None, error=error)
    assert theirs.decode(Packet(DATA, encode_forward_data(said))) == end
    assert theirs.encode(ChannelData(3, b"late")) is None
    assert theirs.decode(data(True, 1)) is None


def test_one_that_was_given_up_before_its_answer_is_ended_at_it(server: EtChannels) -> None:
    server.encode(ChannelOpen(4, 1, WHERE, 9))
    assert server.encode(ChannelReset(4)) is None, "ET has no name for it yet"
    assert server.decode(response(2)) == ChannelOpened(4, NO_LIMIT)
    assert read(server.encode(ChannelReset(4))) == ForwardData(True, 77, error=RESET)


def test_what_et_does_not_know_is_not_said(server: EtChannels) -> None:
    assert server.encode(ChannelCredit(4, 1000)) is None
    assert server.encode(ChannelOpen(4, 1, None, 9)) is None
    assert server.encode(Unlisten(3)) is None


@pytest.mark.parametrize("packet", [data(True, 9), data(False, 9), closed(True, -1), response(9)])
def test_what_is_said_of_nothing_that_there_is_is_passed_over(
    server: EtChannels, packet: Packet
) -> None:
    assert server.decode(packet) is None


def test_a_channel_of_theirs_is_not_addressed_before_it_is_connected(server: EtChannels) -> None:
    server.decode(request())
    assert server.decode(data(True, 1)) is None
    assert server.encode(ChannelData(3, b"early")) is None


def test_another_packet_is_of_no_channel(server: EtChannels) -> None:
    with pytest.raises(MessageError, match="packet type 67 is of no channel"):
        server.decode(Packet(PacketType.CHANNEL, b""))


def test_names_stay_what_et_can_hold(server: EtChannels) -> None:
    said = read(server.encode(ChannelOpen(2 * (MAX_TOKEN + 3), 0, WHERE, 9)))
    assert said == ForwardRequest(2, WHERE)


@given(st.integers(0, 255), st.binary(max_size=60))
def test_any_bytes_are_understood_or_refused(packet_type: int, payload: bytes) -> None:
    channels = EtChannels(0)
    channels.encode(ChannelOpen(1, 0, WHERE, 9))
    channels.decode(response(0, 3))
    with suppress(MessageError):
        channels.decode(Packet(packet_type, payload))


# What real programs said


def packets_of(transcript: Transcript, direction: str) -> list[Packet]:
    """All packets of one direction of a session that had one connection."""
    client = direction == CLIENT_TO_SERVER
    handshake = Handshake.server() if client else Handshake.client()
    toward = Direction.CLIENT_TO_SERVER if client else Direction.SERVER_TO_CLIENT
    reader = BackedReader(SealedBox(transcript.passkey, toward))
    splitter = PacketSplitter()
    found: list[Packet] = []
    for data in transcript.chunks(transcript.connections[0], direction):
        if handshake.state is not State.PACKETS:
            handshake.feed(data)
            if client:
                handshake.decide(ConnectStatus.NEW_CLIENT)
            data = handshake.rest()
        for body in splitter.feed(data):
            packet = reader.open(reader.received + 1, body)
            assert packet is not None
            reader.count()
            found.append(packet)
    return [packet for packet in found if packet.type in (REQUEST, RESPONSE, DATA)]


def recorded(number: str) -> Transcript:
    return load(next(path for path in TRANSCRIPTS if path.stem.startswith(number)))


def heard(channels: EtChannels, packets: list[Packet]) -> list[ChannelMessage]:
    """What is understood, with each channel opened or connected as soon as it is asked for."""
    found = []
    for packet in packets:
        message = channels.decode(packet)
        assert message is not None
        if isinstance(message, ChannelOpen):
            channels.encode(ChannelOpened(message.channel, 0))
        found.append(message)
    return found


def joined(messages: list[ChannelMessage], channel: int) -> bytes:
    return b"".join(
        said.data for said in messages if isinstance(said, ChannelData) and said.channel == channel
    )


def test_the_client_of_a_recorded_forward_tunnel_is_understood() -> None:
    """The recorded server named its channels by rand(), ours by a count."""
    transcript = recorded("04")
    names = {1804289383: 1, 846930886: 2}
    packets = []
    for packet in packets_of(transcript, CLIENT_TO_SERVER):
        if packet.type == DATA:
            said = decode_forward_data(packet.payload)
            renamed = ForwardData(
                said.from_source, names[said.socket], said.data, said.closed, said.error
            )
            packet = Packet(DATA, encode_forward_data(renamed))
        packets.append(packet)

    messages = heard(EtChannels(1), packets)

    opened = [said for said in messages if isinstance(said, ChannelOpen)]
    assert [(said.channel, str(said.destination)) for said in opened] == [
        (3, "localhost:18181"),
        (5, "localhost:18181"),
        (7, "localhost:18183"),
    ]
    assert joined(messages, 3) == b"ping-A\n"
    assert joined(messages, 5) == b"z" * 5000 + b"BYE\n"
    assert ChannelEnd(3) in messages


def test_the_server_of_a_recorded_forward_tunnel_is_understood() -> None:
    transcript = recorded("04")
    channels = EtChannels(0)
    answers = packets_of(transcript, SERVER_TO_CLIENT)
    messages: list[ChannelMessage] = []
    channel_of_fd = {12: 2 * 12 + 1, 13: 2 * 13 + 1}
    for packet in packets_of(transcript, CLIENT_TO_SERVER):
        if packet.type == REQUEST:  # say what the real client said, and hear the answer
            asked = decode_forward_request(packet.payload)
            channel = channel_of_fd[asked.fd]
            assert channels.encode(ChannelOpen(channel, 0, asked.destination, 0)) == packet
            answered = next(place for place, each in enumerate(answers) if each.type == RESPONSE)
            messages += heard(channels, answers[: answered + 1])
            del answers[: answered + 1]
    messages += heard(channels, answers)

    assert joined(messages, 25) == b"echo:ping-A\n"
    assert joined(messages, 27) == b"echo:" + b"z" * 5000 + b"server closes\n"
    assert messages[-1] == ChannelRefused(25, Failure.GENERAL, "Operation now in progress")
    assert ChannelEnd(27) in messages


def test_both_ends_of_a_recorded_reverse_tunnel_are_understood() -> None:
    transcript = recorded("05")
    client, server = EtChannels(0), EtChannels(1)
    asked, ping, end = packets_of(transcript, SERVER_TO_CLIENT)
    answer, pong = packets_of(transcript, CLIENT_TO_SERVER)

    number = 2 * 0x23
    assert server.encode(ChannelOpen(number, 0, Address("localhost", 18191), 0)) == asked
    assert server.decode(answer) == ChannelOpened(number, NO_LIMIT)
    assert server.decode(pong) == ChannelData(number, b"echo:ping-R\n")
    assert server.encode(ChannelData(number, b"ping-R\n")) == ping
    assert server.encode(ChannelEnd(number)) == end
    assert client.decode(asked) == ChannelOpen(2, 0, Address("localhost", 18191), NO_LIMIT)
