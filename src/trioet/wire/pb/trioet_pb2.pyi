from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Offer(_message.Message):
    __slots__ = ("features", "exec")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXEC_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[bytes]
    exec: Exec
    def __init__(self, features: _Optional[_Iterable[bytes]] = ..., exec: _Optional[_Union[Exec, _Mapping]] = ...) -> None: ...

class Exec(_message.Message):
    __slots__ = ("command", "pty")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PTY_FIELD_NUMBER: _ClassVar[int]
    command: bytes
    pty: bool
    def __init__(self, command: _Optional[bytes] = ..., pty: _Optional[bool] = ...) -> None: ...

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
