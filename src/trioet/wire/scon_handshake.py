"""What is said at the beginning of every SCP connection: one frame each way, in text.

A frame is a length of 16 bits, big-endian, and so many bytes; what follows the frame is the
stream. Requests begin a session or resume one; the description of goscon (2.1, 2.2, 2.7) has
the forms, and those that real peers send though nobody describes them.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final, TypeAlias

from trioet.errors import FrameError, HandshakeError

LENGTH: Final = Struct(">H")

MAX_FRAME: Final = 4096
"""Bytes in one frame. Real ones have less than 100; the name of a target may be long. The
length that the first letters of an HTTP or TLS request make is beyond, and refused at once."""

LAST_ID: Final = 2**32 - 1
COUNT_MASK: Final = 2**32 - 1
"""Positions in the stream travel modulo 2^32 (2.7)."""

CODE_SIZE: Final = 8

_NUMBER: Final = re.compile(rb"[+-]?[0-9]{1,20}")


class Code(IntEnum):
    """Answers to a request to resume (2.7). MALFORMED is trioet's: goscon just closes."""

    OK = 200
    MALFORMED = 400
    UNAUTHORIZED = 401
    INDEX_USED = 403
    UNKNOWN = 404
    NOT_KEPT = 406
    BROKEN = 501
    """Never sent: a connection that ended, or said nothing."""


@dataclass(frozen=True)
class NewRequest:
    """Begin a session."""

    public: int
    target: bytes = b""
    flags: int = 0
    sealing: bytes = b""
    """The fifth line: what a trioet offers. Real servers ignore it (2.2)."""

    def text(self) -> bytes:
        """As it is sent."""
        text = b"0\n%s\n%s\n%d" % (_key_text(self.public), self.target, self.flags)
        return text + b"\n" + self.sealing if self.sealing else text


@dataclass(frozen=True)
class NewAnswer:
    """A session has begun."""

    session_id: int
    public: int
    sealing: bytes = b""
    """The third line, for who offered something in the fifth."""

    def text(self) -> bytes:
        """As it is sent."""
        text = b"%d\n%s" % (self.session_id, _key_text(self.public))
        return text + b"\n" + self.sealing if self.sealing else text


@dataclass(frozen=True)
class ResumeRequest:
    """Go on with a session on this connection."""

    session_id: int
    index: int
    """Higher than that of every request that was granted."""
    received: int
    """Bytes of the stream that the client has, modulo 2^32."""
    code: bytes = b""
    """Proof over :meth:`signed`."""

    def signed(self) -> bytes:
        """The text under the code. Always in this form, however the numbers were written."""
        return b"%d\n%d\n%d\n" % (self.session_id, self.index, self.received)

    def text(self) -> bytes:
        """As it is sent."""
        return self.signed() + b64encode(self.code)


@dataclass(frozen=True)
class ResumeAnswer:
    """The session goes on, if the code says so."""

    received: int
    """Bytes of the stream that the server has, modulo 2^32; 0 if it refuses."""
    code: int
    proof: bytes = b""
    """A third line, in a sealed session."""

    def text(self) -> bytes:
        """As it is sent: the code bare, since real clients read nothing else."""
        text = b"%d\n%d" % (self.received, self.code)
        return text + b"\n" + b64encode(self.proof) if self.proof else text


Request: TypeAlias = NewRequest | ResumeRequest


class Malformed(HandshakeError):
    """A text that is no request, or no answer."""


def frame(text: bytes) -> bytes:
    """Frame a text.

    Raises:
      ValueError: it is too long to be taken by anybody.
    """
    if len(text) > MAX_FRAME:
        raise ValueError(f"a frame of {len(text)} bytes; {MAX_FRAME} allowed")
    return LENGTH.pack(len(text)) + text


class FrameReader:
    """Cut the one frame off a connection's bytes. What follows it is stream."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._size = LENGTH.size
        self._text: bytes | None = None

    @property
    def wanted(self) -> int:
        """Bytes that may be read without reading any of the stream."""
        return self._size - len(self._pending)

    @property
    def idle(self) -> bool:
        """True before the first byte."""
        return not self._pending

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return the text once it is whole. What follows it is in :meth:`rest`.

        Raises:
          FrameError: no honest peer announces so many bytes.
        """
        self._pending += data
        if len(self._pending) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._pending)
        if not 0 < length <= MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes announced; 1 to {MAX_FRAME} allowed")
        self._size = LENGTH.size + length
        if len(self._pending) < self._size:
            return None
        return bytes(self._pending[LENGTH.size : self._size])

    def rest(self) -> bytes:
        """What came behind the frame."""
        return bytes(self._pending[self._size :])


def parse_request(text: bytes) -> Request:
    """Read a client's text.

    Raises:
      Malformed: it is no request.
    """
    lines = text.split(b"\n")
    if text.startswith(b"0\n"):
        flags = _number(lines[3]) if len(lines) > 3 else 0
        target = lines[2] if len(lines) > 2 else b""
        sealing = lines[4] if len(lines) > 4 else b""
        return NewRequest(_key(lines[1]), target, flags, sealing)
    if len(lines) < 4:
        raise Malformed("a request to resume has four lines")
    received = _number(lines[2])
    if not 0 <= received <= COUNT_MASK:
        raise Malformed("a count of bytes beyond 32 bits")
    return ResumeRequest(_number(lines[0]), _number(lines[1]), received, octets_of(lines[3]))


def parse_new_answer(text: bytes) -> NewAnswer:
    """Read a server's answer to a NewRequest.

    Raises:
      Malformed: it is none.
    """
    lines = text.split(b"\n")
    session_id = _number(lines[0])
    if not 1 <= session_id <= LAST_ID or len(lines) < 2:
        raise Malformed("not the answer to a request for a session")
    return NewAnswer(session_id, _key(lines[1]), lines[2] if len(lines) > 2 else b"")


def parse_resume_answer(text: bytes) -> ResumeAnswer:
    """Read a server's answer to a ResumeRequest; a code may be followed by words (2.7).

    Raises:
      Malformed: it is none.
    """
    lines = text.split(b"\n")
    received = _number(lines[0])
    if len(lines) < 2 or not 0 <= received <= COUNT_MASK:
        raise Malformed("not the answer to a request to resume")
    code = _number(lines[1].partition(b" ")[0])
    return ResumeAnswer(received, code, octets_of(lines[2]) if len(lines) > 2 else b"")


def octets_text(octets: bytes) -> bytes:
    """Bytes as they stand in a text."""
    return b64encode(octets)


def _key_text(public: int) -> bytes:
    return b64encode(public.to_bytes(CODE_SIZE, "little"))


def _key(line: bytes) -> int:
    return int.from_bytes(octets_of(line)[:CODE_SIZE], "little")


def octets_of(line: bytes) -> bytes:
    """Eight bytes or more; real peers look at the first eight (2.2)."""
    try:
        octets = b64decode(line, validate=True)
    except binascii.Error:
        raise Malformed("not base64 where a key or a code belongs") from None
    if len(octets) < CODE_SIZE:
        raise Malformed(f"{len(octets)} bytes where {CODE_SIZE} belong")
    return octets


def _number(line: bytes) -> int:
    if not _NUMBER.fullmatch(line):
        raise Malformed("not a number where one belongs")
    return int(line)
