from trioet.wire.pb import trioet_pb2 as _trioet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEW_CLIENT: _ClassVar[ConnectStatus]
    RETURNING_CLIENT: _ClassVar[ConnectStatus]
    INVALID_KEY: _ClassVar[ConnectStatus]
    MISMATCHED_PROTOCOL: _ClassVar[ConnectStatus]
NEW_CLIENT: ConnectStatus
RETURNING_CLIENT: ConnectStatus
INVALID_KEY: ConnectStatus
MISMATCHED_PROTOCOL: ConnectStatus

class ConnectRequest(_message.Message):
    __slots__ = ("client_id", "version", "relay", "introduction")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    INTRODUCTION_FIELD_NUMBER: _ClassVar[int]
    client_id: bytes
    version: int
    relay: bool
    introduction: _trioet_pb2.Introduction
    def __init__(self, client_id: _Optional[bytes] = ..., version: _Optional[int] = ..., relay: _Optional[bool] = ..., introduction: _Optional[_Union[_trioet_pb2.Introduction, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("status", "error", "relay_failure", "introduction")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RELAY_FAILURE_FIELD_NUMBER: _ClassVar[int]
    INTRODUCTION_FIELD_NUMBER: _ClassVar[int]
    status: ConnectStatus
    error: bytes
    relay_failure: _trioet_pb2.RelayFailure
    introduction: _trioet_pb2.Introduction
    def __init__(self, status: _Optional[_Union[ConnectStatus, str]] = ..., error: _Optional[bytes] = ..., relay_failure: _Optional[_Union[_trioet_pb2.RelayFailure, _Mapping]] = ..., introduction: _Optional[_Union[_trioet_pb2.Introduction, _Mapping]] = ...) -> None: ...

class SequenceHeader(_message.Message):
    __slots__ = ("sequence_number",)
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    sequence_number: int
    def __init__(self, sequence_number: _Optional[int] = ...) -> None: ...

class CatchupBuffer(_message.Message):
    __slots__ = ("buffer",)
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    buffer: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, buffer: _Optional[_Iterable[bytes]] = ...) -> None: ...
