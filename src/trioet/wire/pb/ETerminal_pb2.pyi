from trioet.wire.pb import trioet_pb2 as _trioet_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SocketEndpoint(_message.Message):
    __slots__ = ("name", "port")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    port: int
    def __init__(self, name: _Optional[bytes] = ..., port: _Optional[int] = ...) -> None: ...

class TerminalBuffer(_message.Message):
    __slots__ = ("buffer",)
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    buffer: bytes
    def __init__(self, buffer: _Optional[bytes] = ...) -> None: ...

class TerminalInfo(_message.Message):
    __slots__ = ("id", "row", "column", "width", "height")
    ID_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    row: int
    column: int
    width: int
    height: int
    def __init__(self, id: _Optional[bytes] = ..., row: _Optional[int] = ..., column: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class PortForwardSourceRequest(_message.Message):
    __slots__ = ("source", "destination", "environmentvariable")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTVARIABLE_FIELD_NUMBER: _ClassVar[int]
    source: SocketEndpoint
    destination: SocketEndpoint
    environmentvariable: bytes
    def __init__(self, source: _Optional[_Union[SocketEndpoint, _Mapping]] = ..., destination: _Optional[_Union[SocketEndpoint, _Mapping]] = ..., environmentvariable: _Optional[bytes] = ...) -> None: ...

class PortForwardDestinationRequest(_message.Message):
    __slots__ = ("destination", "fd")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    FD_FIELD_NUMBER: _ClassVar[int]
    destination: SocketEndpoint
    fd: int
    def __init__(self, destination: _Optional[_Union[SocketEndpoint, _Mapping]] = ..., fd: _Optional[int] = ...) -> None: ...

class PortForwardDestinationResponse(_message.Message):
    __slots__ = ("clientfd", "socketid", "error")
    CLIENTFD_FIELD_NUMBER: _ClassVar[int]
    SOCKETID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    clientfd: int
    socketid: int
    error: bytes
    def __init__(self, clientfd: _Optional[int] = ..., socketid: _Optional[int] = ..., error: _Optional[bytes] = ...) -> None: ...

class PortForwardData(_message.Message):
    __slots__ = ("sourcetodestination", "socketid", "buffer", "error", "closed")
    SOURCETODESTINATION_FIELD_NUMBER: _ClassVar[int]
    SOCKETID_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    sourcetodestination: bool
    socketid: int
    buffer: bytes
    error: bytes
    closed: bool
    def __init__(self, sourcetodestination: _Optional[bool] = ..., socketid: _Optional[int] = ..., buffer: _Optional[bytes] = ..., error: _Optional[bytes] = ..., closed: _Optional[bool] = ...) -> None: ...

class EnvironmentEntry(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class InitialPayload(_message.Message):
    __slots__ = ("jumphost", "reversetunnels", "environmentvariables", "offer")
    JUMPHOST_FIELD_NUMBER: _ClassVar[int]
    REVERSETUNNELS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTVARIABLES_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    jumphost: bool
    reversetunnels: _containers.RepeatedCompositeFieldContainer[PortForwardSourceRequest]
    environmentvariables: _containers.RepeatedCompositeFieldContainer[EnvironmentEntry]
    offer: _trioet_pb2.Offer
    def __init__(self, jumphost: _Optional[bool] = ..., reversetunnels: _Optional[_Iterable[_Union[PortForwardSourceRequest, _Mapping]]] = ..., environmentvariables: _Optional[_Iterable[_Union[EnvironmentEntry, _Mapping]]] = ..., offer: _Optional[_Union[_trioet_pb2.Offer, _Mapping]] = ...) -> None: ...

class InitialResponse(_message.Message):
    __slots__ = ("error", "accepted")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    error: bytes
    accepted: _trioet_pb2.Accepted
    def __init__(self, error: _Optional[bytes] = ..., accepted: _Optional[_Union[_trioet_pb2.Accepted, _Mapping]] = ...) -> None: ...
