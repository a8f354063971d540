"""The sealed form of a session, which trioets agree on among themselves.

The frames are goscon's. A client adds a fifth line to its request, which real servers ignore:
``trioet1`` and an X25519 key. A server that knows it adds a third line to its answer: ``trioet1``,
its own key, and a proof that it has come to the same secrets. Everything is bound into them:
both texts, and a key that both may have agreed on before (:func:`agree`).

The stream is then one of records: a length of 16 bits, big-endian, and a box, sealed as packets
are (:mod:`trioet.wire.sealing`) with the number of the record for a nonce. A record's first byte
says what it is. Positions count the bytes of records, and only whole records that opened count
as received: what was forged costs its connection, and the true bytes come on the next.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from enum import IntEnum
from struct import Struct
from typing import Final

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import RuntimeError as WeakKey

from trioet.errors import FrameError, HandshakeError, MessageError
from trioet.wire.scon_handshake import (
    Malformed,
    NewAnswer,
    NewRequest,
    ResumeAnswer,
    ResumeRequest,
    octets_of,
    octets_text,
)
from trioet.wire.sealing import TAG_SIZE, Direction, SealedBox

NAME: Final = b"trioet1"
KEY_SIZE: Final = 32
PROOF_SIZE: Final = 32
MAX_PSK: Final = 64
"""Bytes of a key agreed on before: what BLAKE2b takes."""

PIECE: Final = 16 * 1024
"""Bytes of a program's in one record: the size at which sealing is fastest."""

_LENGTH: Final = Struct(">H")
_COUNT: Final = Struct(">Q")
_MIN_BOX: Final = TAG_SIZE + 1
MAX_BOX: Final = _MIN_BOX + PIECE


class Kind(IntEnum):
    """What a record is."""

    DATA = 0
    ACK = 1
    """How many bytes of records the sender has received: 8 bytes, big-endian."""
    END = 2
    """No DATA will follow."""
    OVER = 3
    """The session is over: the sender has no more use for it."""


@dataclass(frozen=True)
class SealedKeys:
    """What both ends of a sealed session share."""

    root: bytes

    def __repr__(self) -> str:
        return "<SealedKeys>"

    def confirm(self) -> bytes:
        """The server's proof that it has the root."""
        return self._code(b"confirm", b"")

    def sign(self, request: ResumeRequest) -> bytes:
        """The proof that a request comes from who began the session."""
        return self._code(b"resume", request.signed())

    def prove(self, request: ResumeRequest, answer: ResumeAnswer) -> bytes:
        """The proof that an answer comes from who holds the session, and is to this request."""
        return self._code(b"answer", request.text() + b"\n" + replace(answer, proof=b"").text())

    def outward(self, direction: Direction) -> SealedOutward:
        """The side of one direction that seals."""
        return SealedOutward(SealedBox(self._code(b"stream", b""), direction))

    def inward(self, direction: Direction) -> SealedInward:
        """The side of one direction that opens."""
        return SealedInward(SealedBox(self._code(b"stream", b""), direction))

    def _code(self, purpose: bytes, text: bytes) -> bytes:
        return hashlib.blake2b(
            text, digest_size=PROOF_SIZE, key=self.root, person=b"scon " + purpose
        ).digest()


def offer(private: bytes) -> bytes:
    """The line of a client that can seal."""
    return NAME + b" " + octets_text(crypto_scalarmult_base(private))


def offered(request: NewRequest) -> bool:
    """Whether a client can."""
    return request.sealing.startswith(NAME + b" ")


def accept(
    request: NewRequest, answer: NewAnswer, private: bytes, psk: bytes
) -> tuple[NewAnswer, SealedKeys]:
    """Server: the answer with its third line, and the keys.

    Raises:
      HandshakeError: what the client sent is no key.
    """
    (theirs,) = _fields(request.sealing, [KEY_SIZE])
    answer = replace(answer, sealing=offer(private))
    keys = agree(private, theirs, psk, request, answer)
    return replace(answer, sealing=answer.sealing + b" " + octets_text(keys.confirm())), keys


def accepted(answer: NewAnswer) -> bool:
    """Whether the server took the offer up."""
    return answer.sealing.startswith(NAME + b" ")


def conclude(request: NewRequest, answer: NewAnswer, private: bytes, psk: bytes) -> SealedKeys:
    """Client: the keys.

    Raises:
      HandshakeError: the server has another pre-shared key, or somebody changed what was said.
    """
    theirs, proof = _fields(answer.sealing, [KEY_SIZE, PROOF_SIZE])
    answer = replace(answer, sealing=answer.sealing.rpartition(b" ")[0])
    keys = agree(private, theirs, psk, request, answer)
    if not hmac.compare_digest(keys.confirm(), proof):
        raise HandshakeError("the server has another pre-shared key, or none")
    return keys


def agree(
    private: bytes, theirs: bytes, psk: bytes, request: NewRequest, answer: NewAnswer
) -> SealedKeys:
    """The keys that follow from both texts, the exchange and the pre-shared key.

    Raises:
      HandshakeError: the peer's key makes no secret.
    """
    try:
        shared = crypto_scalarmult(private, theirs)
    except WeakKey:
        raise HandshakeError("an X25519 key that makes no secret") from None
    asked, answered = request.text(), answer.text()
    transcript = b"".join(_LENGTH.pack(len(part)) + part for part in (shared, asked, answered))
    return SealedKeys(
        hashlib.blake2b(transcript, digest_size=KEY_SIZE, key=psk, person=b"scon root").digest()
    )


class SealedOutward:
    """Records that leave."""

    piece: Final = PIECE

    def __init__(self, box: SealedBox) -> None:
        self._box = box
        self._records = 0

    def seal(self, data: bytes) -> bytes:
        """A program's bytes, at most PIECE of them, in a record."""
        return self.record(Kind.DATA, data)

    def ack(self, received: int) -> bytes:
        """Tell the peer what it may forget."""
        return self.record(Kind.ACK, _COUNT.pack(received))

    def record(self, kind: Kind, payload: bytes = b"") -> bytes:
        """One record."""
        self._records += 1
        box = self._box.seal(self._records, bytes((kind,)) + payload)
        return _LENGTH.pack(len(box)) + box


class SealedInward:
    """Records that arrive."""

    def __init__(self, box: SealedBox) -> None:
        self._box = box
        self._records = 0
        self._pending = bytearray()
        self._ready: list[bytes] = []
        self.received = 0
        self.acknowledged = 0
        self.ended = False
        self.over = False

    def restart(self) -> None:
        """What was half there comes again from its beginning."""
        self._pending.clear()

    def open(self, data: bytes) -> bytes:
        """Return what the records that are now whole bring for the program.

        Raises:
          PeerError: the next record is not the peer's, or makes no sense. Those before it
              count, and what they brought comes with the next call.
        """
        self._pending += data
        start = 0
        while len(self._pending) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending, start)
            if not _MIN_BOX <= length <= MAX_BOX:
                raise FrameError(f"a record of {length} bytes announced; {MAX_BOX} allowed")
            end = start + _LENGTH.size + length
            if len(self._pending) < end:
                break
            plain = self._box.open(
                self._records + 1, bytes(self._pending[start + _LENGTH.size : end])
            )
            self._take(plain)
            self._records += 1
            self.received += end - start
            start = end
        del self._pending[:start]
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def _take(self, plain: bytes) -> None:
        payload = plain[1:]
        match plain[0]:
            case Kind.DATA:
                self._ready.append(payload)
            case Kind.ACK if len(payload) == _COUNT.size:
                (self.acknowledged,) = _COUNT.unpack(payload)
            case Kind.END if not payload:
                self.ended = True
            case Kind.OVER if not payload:
                self.over = True
            case kind:
                raise MessageError(f"a record of kind {kind} with {len(payload)} bytes")


def _fields(line: bytes, sizes: list[int]) -> list[bytes]:
    """The fields behind the name, which must have these sizes."""
    fields = [octets_of(field) for field in line.split(b" ")[1:]]
    if [len(field) for field in fields] != sizes:
        raise Malformed("keys and proofs of other sizes than X25519 and BLAKE2 have here")
    return fields
