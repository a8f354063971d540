"""Parse a protobuf message, or say what it was to be."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from trioet.errors import MessageError

_M = TypeVar("_M", bound=Message)


def parse(message: _M, data: bytes) -> _M:
    """Fill a new message from ``data`` and return it.

    Raises:
      MessageError: it is no such message.
    """
    try:
        message.ParseFromString(data)
    except DecodeError:
        name = message.DESCRIPTOR.name
        raise MessageError(f"{len(data)} bytes that are not a {name}") from None
    return message
