"""Parse a protobuf message, or say what it was to be; be sure that it is no other."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

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


def check_has(message: Message, always: str, one_of: tuple[str, ...]) -> None:
    """Check that a message has these fields, one of those, and no other.

    A packet's type travels unsealed: so none of ET's messages may pass for another.

    Raises:
      MessageError: it has not.
    """
    told = {field.name for field, _ in message.ListFields()}
    complete = any(told == {*always.split(), one} for one in one_of)
    if not complete or len(UnknownFieldSet(message)):
        raise MessageError(f"a {message.DESCRIPTOR.name} of {', '.join(sorted(told)) or 'nothing'}")
