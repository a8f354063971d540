from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Offer(_message.Message):
    __slots__ = ("features", "exec", "listens", "listens_required")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXEC_FIELD_NUMBER: _ClassVar[int]
    LISTENS_FIELD_NUMBER: _ClassVar[int]
    LISTENS_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[bytes]
    exec: Exec
    listens: _containers.RepeatedCompositeFieldContainer[Listen]
    listens_required: bool
    def __init__(self, features: _Optional[_Iterable[bytes]] = ..., exec: _Optional[_Union[Exec, _Mapping]] = ..., listens: _Optional[_Iterable[_Union[Listen, _Mapping]]] = ..., listens_required: _Optional[bool] = ...) -> None: ...

class Exec(_message.Message):
    __slots__ = ("command", "pty", "nothing")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PTY_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    command: bytes
    pty: bool
    nothing: bool
    def __init__(self, command: _Optional[bytes] = ..., pty: _Optional[bool] = ..., nothing: _Optional[bool] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("features", "version")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[bytes]
    version: bytes
    def __init__(self, features: _Optional[_Iterable[bytes]] = ..., version: _Optional[bytes] = ...) -> None: ...

class SessionOver(_message.Message):
    __slots__ = ("status", "signal", "reason")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    status: int
    signal: int
    reason: bytes
    def __init__(self, status: _Optional[int] = ..., signal: _Optional[int] = ..., reason: _Optional[bytes] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("host", "port", "path", "variable")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    host: bytes
    port: int
    path: bytes
    variable: bytes
    def __init__(self, host: _Optional[bytes] = ..., port: _Optional[int] = ..., path: _Optional[bytes] = ..., variable: _Optional[bytes] = ...) -> None: ...

class Listen(_message.Message):
    __slots__ = ("number", "endpoint", "dynamic", "datagrams")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_FIELD_NUMBER: _ClassVar[int]
    DATAGRAMS_FIELD_NUMBER: _ClassVar[int]
    number: int
    endpoint: Endpoint
    dynamic: bool
    datagrams: bool
    def __init__(self, number: _Optional[int] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., dynamic: _Optional[bool] = ..., datagrams: _Optional[bool] = ...) -> None: ...

class Listening(_message.Message):
    __slots__ = ("port", "error")
    PORT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    port: int
    error: bytes
    def __init__(self, port: _Optional[int] = ..., error: _Optional[bytes] = ...) -> None: ...

class ChannelOpen(_message.Message):
    __slots__ = ("listen", "destination", "credit", "datagrams")
    LISTEN_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DATAGRAMS_FIELD_NUMBER: _ClassVar[int]
    listen: int
    destination: Endpoint
    credit: int
    datagrams: bool
    def __init__(self, listen: _Optional[int] = ..., destination: _Optional[_Union[Endpoint, _Mapping]] = ..., credit: _Optional[int] = ..., datagrams: _Optional[bool] = ...) -> None: ...

class RelayFailure(_message.Message):
    __slots__ = ("relay", "reason", "unknown", "refused")
    RELAY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    relay: bytes
    reason: bytes
    unknown: bool
    refused: bool
    def __init__(self, relay: _Optional[bytes] = ..., reason: _Optional[bytes] = ..., unknown: _Optional[bool] = ..., refused: _Optional[bool] = ...) -> None: ...

class Introduction(_message.Message):
    __slots__ = ("public_key", "proof")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    proof: bytes
    def __init__(self, public_key: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...
