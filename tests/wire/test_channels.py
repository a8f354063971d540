"""CHANNEL payloads: said and understood, and taken for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.wire import channels as c
from trioet.wire import messages as m
from trioet.wire.forward import Address, UnixPath, Variable
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.packet import Packet, PacketType
from trioet.wire.pb import ET_pb2, ETerminal_pb2, trioet_pb2
from trioet.wire.reach import Failure

numbers = st.integers(0, 2**64 - 1)
hosts = st.text(max_size=20) | st.binary(max_size=9).map(
    lambda raw: raw.decode(errors="surrogateescape")
)
paths = hosts.map("/{}".format)
ports = st.integers(1, 65535)
destinations = st.builds(Address, hosts, ports) | st.builds(UnixPath, paths)
places = (
    st.builds(Address, hosts, st.integers(0, 65535))
    | st.builds(UnixPath, paths)
    | st.builds(Variable, hosts)
)
messages: st.SearchStrategy[c.ChannelMessage] = st.one_of(
    st.builds(
        c.ChannelOpen, numbers, numbers, st.none() | destinations, numbers, datagrams=st.booleans()
    ),
    st.builds(c.ChannelOpened, numbers, numbers),
    st.builds(c.ChannelRefused, numbers, st.sampled_from(Failure), st.text(max_size=30)),
    st.builds(c.ChannelData, numbers, st.binary(max_size=300)),
    st.builds(c.ChannelCredit, numbers, numbers),
    st.builds(c.ChannelEnd, numbers),
    st.builds(c.ChannelReset, numbers),
    st.builds(Listen, numbers, places, st.booleans(), st.booleans()),
    st.builds(Listening, numbers, st.integers(0, 65535), st.text(max_size=30)),
    st.builds(c.Unlisten, numbers),
)
head = st.builds(c.HEAD.pack, st.sampled_from(c.Kind), numbers)
nearly = st.builds(bytes.__add__, head, st.binary(max_size=60))
"""What begins as a CHANNEL does."""

PROTOBUFS: list[type[Message]] = [
    getattr(module, name)
    for module in (ET_pb2, ETerminal_pb2, trioet_pb2)
    for name in module.DESCRIPTOR.message_types_by_name
]

texts = st.binary(max_size=60)
foreign: st.SearchStrategy[bytes] = st.one_of(
    texts.map(m.encode_terminal_buffer),
    texts.map(m.encode_stderr),
    st.builds(m.WindowSize, *[st.integers(0, 65535)] * 4).map(m.encode_terminal_info),
    st.builds(m.SessionOver, st.integers(0, 255), st.none(), st.text(max_size=9)).map(
        m.encode_session_over
    ),
    st.builds(m.InitialPayload, st.dictionaries(texts, texts, max_size=2), st.booleans()).map(
        m.encode_initial_payload
    ),
    st.builds(m.InitialResponse, texts, st.just(("over",)), st.just("1")).map(
        m.encode_initial_response
    ),
    st.sampled_from([m.END_OF_INPUT, b""]),
    numbers.map(m.encode_count),
)
"""Payloads of all other packets between two trioets."""


@given(messages)
def test_what_is_said_is_understood(message: c.ChannelMessage) -> None:
    assert c.decode_channel(c.encode_channel(message)) == message


@given(messages)
def test_it_travels_as_a_channel_packet(message: c.ChannelMessage) -> None:
    peer = c.TrioetChannels()
    packet = peer.encode(message)
    assert packet.type == PacketType.CHANNEL
    assert peer.decode(packet) == message


@given(st.integers(0, 255).filter(lambda number: number != PacketType.CHANNEL), messages)
def test_another_type_of_packet_is_of_no_channel(
    packet_type: int, message: c.ChannelMessage
) -> None:
    with pytest.raises(MessageError, match="of no channel"):
        c.TrioetChannels().decode(Packet(packet_type, c.encode_channel(message)))


@given(nearly | st.binary(max_size=80))
def test_any_bytes_are_understood_or_refused(payload: bytes) -> None:
    try:
        message = c.decode_channel(payload)
    except MessageError:
        return
    assert c.decode_channel(c.encode_channel(message)) == message


# A packet's type travels unsealed: whoever changes it must not change what is understood.


@given(messages | nearly.map(bytes), st.sampled_from(PROTOBUFS))
def test_no_channel_message_parses_as_any_protobuf_message(
    message: c.ChannelMessage | bytes, protobuf: Callable[[], Message]
) -> None:
    payload = message if isinstance(message, bytes) else c.encode_channel(message)
    with pytest.raises(DecodeError):
        protobuf().ParseFromString(payload)


@given(messages)
def test_no_channel_message_is_a_count_or_words_or_an_end(message: c.ChannelMessage) -> None:
    payload = c.encode_channel(message)
    assert m.decode_count(payload) is None
    assert payload not in (b"", m.END_OF_INPUT)
    with pytest.raises(MessageError):
        m.decode_stderr(payload)


@given(foreign)
def test_no_other_payload_is_a_channel_message(payload: bytes) -> None:
    with pytest.raises(MessageError):
        c.decode_channel(payload)


@given(st.sampled_from(PROTOBUFS), st.data())
def test_no_protobuf_message_is_a_channel_message(
    protobuf: Callable[[], Any], data: st.DataObject
) -> None:
    """Whatever its fields are: a message's first byte is the tag of one of them."""
    message = protobuf()
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_BYTES and not field.is_repeated:
            setattr(message, field.name, data.draw(st.binary(max_size=9)))
        elif field.type == field.TYPE_UINT64:
            setattr(message, field.name, data.draw(numbers))
    with pytest.raises(MessageError):
        c.decode_channel(message.SerializeToString())


# What is refused, and what is read kindly


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "0 bytes; at least 9"),
        (b"\x1f1234567", "8 bytes; at least 9"),
        (b"\x0812345678", "unknown kind 8"),
        (b"\x5f12345678", "unknown kind 95"),
        (b"\x2f12345678x", "1 bytes too many"),
        (b"\x3712345678xy", "2 bytes too many"),
        (b"\x4f12345678x", "1 bytes too many"),
        (b"\x2712345678", "0 bytes that are no credit"),
        (b"\x0f12345678123456789", "9 bytes that are no credit"),
        (b"\x0712345678\xff", "not a ChannelOpen"),
        (b"\x0712345678\x12\x00", "an endpoint of nothing"),
        (b"\x0712345678\x12\x04\x0a\x01a\x10", "not a ChannelOpen"),
        (b"\x0712345678\x12\x05\x0a\x01a\x10\x00", "port 0"),
        (b"\x0712345678\x12\x02\x10\x50", "an endpoint of port"),
        (b"\x0712345678\x12\x03\x22\x01A", "leads to a variable"),
        (b"\x0712345678\x12\x03\x1a\x01a", "an endpoint of path"),
        (b"\x3f12345678", "an endpoint of nothing"),
        (b"\x3f12345678\x12\x06\x0a\x01a\x1a\x01/", "an endpoint of host, path"),
        (b"\x4712345678\x08\x80\x80\x04", "port 65536"),
        (b"\x4712345678\xff", "not a Listening"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(payload: bytes, complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint):
        c.decode_channel(payload)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xc8"], ids=["none", "zero", "a later one"])
def test_an_unknown_reason_is_a_reason_all_the_same(body: bytes) -> None:
    message = c.decode_channel(c.HEAD.pack(c.Kind.REFUSED, 7) + body)
    assert message == c.ChannelRefused(7, Failure.GENERAL, "")


def test_a_refusal_that_is_no_utf8_is_readable_all_the_same() -> None:
    payload = c.HEAD.pack(c.Kind.REFUSED, 7) + b"\x01caf\xe9"
    assert c.decode_channel(payload) == c.ChannelRefused(7, Failure.REFUSED, "caf�")


def test_a_refusal_that_names_a_path_of_any_bytes_can_be_said() -> None:
    said = c.ChannelRefused(7, Failure.GENERAL, "/caf\udce9 takes no datagrams")
    understood = c.decode_channel(c.encode_channel(said))
    assert understood == c.ChannelRefused(7, Failure.GENERAL, "/caf? takes no datagrams")
