"""The generated code is what proto/ says, and what proto/ says is what ET speaks.

`nox -s proto` compares the generated files byte for byte; this needs no protoc.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from trioet.wire.messages import (
    ConnectStatus,
    Exec,
    InitialPayload,
    decode_initial_payload,
    encode_initial_payload,
)
from trioet.wire.pb import ET_pb2, ETerminal_pb2, trioet_pb2

PROTO = Path(__file__).parents[1] / "proto"
MODULES = {"ET": ET_pb2, "ETerminal": ETerminal_pb2, "trioet": trioet_pb2}

FIRST_OF_OURS = 1000
"""Below it, field numbers belong to Eternal Terminal."""

VARINT, DELIMITED = 0, 2
WIRE_TYPES = {"int32": VARINT, "bool": VARINT, "bytes": DELIMITED, "string": DELIMITED}

# Eternal Terminal specification 1.2: field number -> wire type, of what trioet reads or sends.
ETERNAL_TERMINAL = {
    "ConnectRequest": {1: DELIMITED, 2: VARINT},
    "ConnectResponse": {1: VARINT, 2: DELIMITED},
    "SequenceHeader": {1: VARINT},
    "CatchupBuffer": {1: DELIMITED},
    "SocketEndpoint": {1: DELIMITED, 2: VARINT},
    "TerminalBuffer": {1: DELIMITED},
    "TerminalInfo": {1: DELIMITED, 2: VARINT, 3: VARINT, 4: VARINT, 5: VARINT},
    "PortForwardSourceRequest": {1: DELIMITED, 2: DELIMITED, 3: DELIMITED},
    "PortForwardDestinationRequest": {1: DELIMITED, 2: VARINT},
    "PortForwardDestinationResponse": {1: VARINT, 2: VARINT, 3: DELIMITED},
    "PortForwardData": {1: VARINT, 2: VARINT, 3: DELIMITED, 4: DELIMITED, 5: VARINT},
    "InitialPayload": {1: VARINT, 2: DELIMITED, 3: DELIMITED},
    "InitialResponse": {1: DELIMITED},
}
MAP_ENTRY = {1: DELIMITED, 2: DELIMITED}
"""What an entry of a map<string, string> is on the wire."""

FIELD = re.compile(r"\b(optional|repeated|required) ([\w.]+) (\w+) = (\d+)")
MESSAGE = re.compile(r"^message (\w+) \{([^}]*)\}", re.MULTILINE)


def messages(module: str) -> dict[str, Descriptor]:
    return dict(MODULES[module].DESCRIPTOR.message_types_by_name)


def kind(field: FieldDescriptor) -> str:
    """The type of a field as .proto files write it."""
    if field.message_type is not None:
        return field.message_type.name
    if field.enum_type is not None:
        return field.enum_type.name
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()  # type: ignore[arg-type]


def wire_type(field: FieldDescriptor) -> int:
    if field.message_type is not None:
        return DELIMITED
    return VARINT if field.enum_type is not None else WIRE_TYPES[kind(field)]


@pytest.mark.parametrize("module", MODULES)
def test_the_generated_code_is_what_the_source_says(module: str) -> None:
    source = (PROTO / f"{module}.proto").read_text()
    written = {
        name: {
            (label == "repeated", sort.rpartition(".")[2], name, int(number))
            for label, sort, name, number in FIELD.findall(body)
        }
        for name, body in MESSAGE.findall(source)
    }
    generated = {
        message: {
            (field.is_repeated, kind(field), field.name, field.number) for field in found.fields
        }
        for message, found in messages(module).items()
    }
    assert generated == written, "run `nox -s proto -- --write`"


def test_field_numbers_and_wire_types_are_eternal_terminals() -> None:
    for name, found in {**messages("ET"), **messages("ETerminal")}.items():
        theirs = {
            field.number: wire_type(field) for field in found.fields if field.number < FIRST_OF_OURS
        }
        assert theirs == (MAP_ENTRY if name == "EnvironmentEntry" else ETERNAL_TERMINAL[name])


def test_text_from_peers_is_bytes_so_that_none_is_unreadable() -> None:
    for module in MODULES:
        for found in messages(module).values():
            assert [field.name for field in found.fields if kind(field) == "string"] == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_required(module: str) -> None:
    for found in messages(module).values():
        assert not [field.name for field in found.fields if field.is_required]


def test_statuses_are_eternal_terminals() -> None:
    numbers = {"NEW_CLIENT": 1, "RETURNING_CLIENT": 2, "INVALID_KEY": 3, "MISMATCHED_PROTOCOL": 4}
    assert dict(ET_pb2.ConnectStatus.items()) == numbers
    assert {status.name: status.value for status in ConnectStatus} == numbers


def theirs(name: str) -> Message:
    """An empty message as a peer knows it that has never heard of trioet."""
    file = FileDescriptorProto(name=f"{name}.proto", package="et", syntax="proto2")
    message = file.message_type.add(name=name)
    for number, expected in ETERNAL_TERMINAL[name].items():
        message.field.add(
            name=f"field{number}",
            number=number,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            type=FieldDescriptorProto.TYPE_BYTES if expected else FieldDescriptorProto.TYPE_INT32,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"et.{name}"))()


def test_a_peer_that_does_not_know_our_fields_reads_its_own_and_relays_ours() -> None:
    ours = InitialPayload(jumphost=True, features=("over", "exec"), exec=Exec(b"make"))

    relayed = theirs("InitialPayload")
    relayed.ParseFromString(encode_initial_payload(ours))

    assert getattr(relayed, "field1") == 1  # noqa: B009 - in no stub
    assert decode_initial_payload(relayed.SerializeToString()) == ours
