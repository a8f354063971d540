"""Opening a connection: new, resumed or refused; both sides, as one transition table.

A connection starts with messages in clear (Eternal Terminal specification 1.4, 1.8)::

    client                         server
    ConnectRequest{id, 6}    ->
                             <-    ConnectResponse{status}
    NEW_CLIENT: packets follow both ways.
    RETURNING_CLIENT: both sides at once send
      SequenceHeader{packets received}, then
      CatchupBuffer{every packet the other lacks}, then packets follow.
    anything else: the end of the connection.

:class:`Handshake` reads one side of that. What to write is the owner's business: the
events say when, the ``*_frame`` functions say how. Nothing in a handshake proves who the
peer is; the first packet that opens does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from trioet.errors import FrameError, HandshakeError
from trioet.wire.framing import (
    HANDSHAKE_LENGTH,
    MAX_CATCHUP,
    MAX_HANDSHAKE_FRAME,
    MAX_PACKET,
    MIN_PACKET,
    handshake_frame,
)
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    RelayFailure,
    decode_connect_request,
    decode_connect_response,
    decode_sequence_header,
    encode_connect_request,
    encode_connect_response,
    encode_relay_failure,
    encode_sequence_header,
)

CATCHUP_ENTRY: Final = 0x0A
"""Protobuf tag of CatchupBuffer.buffer: field 1, length-delimited."""

MAX_VARINT: Final = 5
"""Bytes of a length inside a CatchupBuffer: 35 bits hold more than MAX_CATCHUP."""


class State(Enum):
    """What is expected next from the peer."""

    REQUEST = auto()
    """Server: the ConnectRequest."""
    VERDICT = auto()
    """Server: nothing; our own side has not answered yet."""
    RESPONSE = auto()
    """Client: the ConnectResponse."""
    SEQUENCE = auto()
    CATCHUP = auto()
    PACKETS = auto()
    """The handshake is over, packets follow."""
    REFUSED = auto()


TRANSITIONS: Final[dict[tuple[State, ConnectStatus | None], State]] = {
    (State.REQUEST, None): State.VERDICT,
    (State.VERDICT, ConnectStatus.NEW_CLIENT): State.PACKETS,
    (State.VERDICT, ConnectStatus.RETURNING_CLIENT): State.SEQUENCE,
    (State.VERDICT, ConnectStatus.INVALID_KEY): State.REFUSED,
    (State.VERDICT, ConnectStatus.MISMATCHED_PROTOCOL): State.REFUSED,
    (State.RESPONSE, ConnectStatus.NEW_CLIENT): State.PACKETS,
    (State.RESPONSE, ConnectStatus.RETURNING_CLIENT): State.SEQUENCE,
    (State.RESPONSE, ConnectStatus.INVALID_KEY): State.REFUSED,
    (State.RESPONSE, ConnectStatus.MISMATCHED_PROTOCOL): State.REFUSED,
    (State.SEQUENCE, None): State.CATCHUP,
    (State.CATCHUP, None): State.PACKETS,
}
"""(state, status if one was given) -> next state. A pair that is missing is an error."""


@dataclass(frozen=True, slots=True)
class PeerReceived:
    """The peer has received this many of our packets; nothing proves it yet."""

    count: int


@dataclass(frozen=True, slots=True)
class Missed:
    """The next packet that we missed: one entry of the peer's CatchupBuffer."""

    body: bytes


class CaughtUp(Enum):
    """The peer's CatchupBuffer has ended; ordinary packets follow."""

    CAUGHT_UP = auto()


Event: TypeAlias = ConnectRequest | ConnectResponse | PeerReceived | Missed | CaughtUp


class Handshake:
    """Read the opening of one connection, from whichever side.

    Feed it bytes until :attr:`state` is ``PACKETS``, then take :meth:`rest` and go on
    with a :class:`~trioet.wire.framing.PacketSplitter`.
    """

    def __init__(self, state: State, *, max_catchup: int = MAX_CATCHUP) -> None:
        self.state = state
        self._max_catchup = max_catchup
        self._pending = bytearray()
        self._catchup_left: int | None = None

    @classmethod
    def client(cls) -> Handshake:
        """The side that sends the ConnectRequest."""
        return cls(State.RESPONSE)

    @classmethod
    def server(cls) -> Handshake:
        """The side that answers it."""
        return cls(State.REQUEST)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the connection; return what they completed.

        Raises:
          FrameError, MessageError, HandshakeError: the peer does not speak the
              protocol. Drop the connection.
        """
        self._pending += data
        events: list[Event] = []
        while (event := self._next_event()) is not None:
            events.append(event)
        return events

    def decide(self, status: ConnectStatus) -> list[Event]:
        """Server: take note of our own answer; return what the peer had sent already.

        Raises:
          HandshakeError: there is no ConnectRequest to answer.
        """
        if self.state is not State.VERDICT:
            raise HandshakeError(f"cannot answer {status.name} in state {self.state.name}")
        self._advance(status)
        return self.feed(b"")

    def rest(self) -> bytes:
        """Return the bytes behind the handshake: the first packets."""
        if self.state is not State.PACKETS:
            raise HandshakeError(f"no packets yet, in state {self.state.name}")
        rest = bytes(self._pending)
        self._pending.clear()
        return rest

    def _advance(self, status: ConnectStatus | None = None) -> None:
        self.state = TRANSITIONS[self.state, status]

    def _next_event(self) -> Event | None:
        match self.state:
            case State.REQUEST:
                if (body := self._take_frame()) is None:
                    return None
                self._advance()
                return decode_connect_request(body)
            case State.RESPONSE:
                if (body := self._take_frame()) is None:
                    return None
                response = decode_connect_response(body)
                self._advance(response.status)
                return response
            case State.SEQUENCE:
                if (body := self._take_frame()) is None:
                    return None
                self._advance()
                return PeerReceived(decode_sequence_header(body))
            case State.CATCHUP:
                return self._next_missed()
            case _:
                return None

    def _take_frame(self) -> bytes | None:
        start = HANDSHAKE_LENGTH.size
        if len(self._pending) < start:
            return None
        length = self._announced(MAX_HANDSHAKE_FRAME)
        if len(self._pending) < start + length:
            return None
        body = bytes(self._pending[start : start + length])
        del self._pending[: start + length]
        return body

    def _announced(self, limit: int) -> int:
        length: int
        (length,) = HANDSHAKE_LENGTH.unpack_from(self._pending)
        if not 0 <= length <= limit:
            raise FrameError(f"handshake message of {length} bytes announced; limit {limit}")
        return length

    def _next_missed(self) -> Missed | CaughtUp | None:
        # Entry by entry, as they arrive: a catch-up may be 64 MiB over a slow line, and
        # every entry that arrived before the line broke is one that need not come again.
        if self._catchup_left is None:
            if len(self._pending) < HANDSHAKE_LENGTH.size:
                return None
            self._catchup_left = self._announced(self._max_catchup)
            del self._pending[: HANDSHAKE_LENGTH.size]
        if self._catchup_left == 0:
            self._advance()
            return CaughtUp.CAUGHT_UP
        head = self._entry_head()
        if head is None:
            return None
        start, length = head
        if start + length > self._catchup_left:
            raise FrameError("a catch-up entry runs over the end of its buffer")
        if len(self._pending) < start + length:
            return None
        body = bytes(self._pending[start : start + length])
        del self._pending[: start + length]
        self._catchup_left -= start + length
        return Missed(body)

    def _entry_head(self) -> tuple[int, int] | None:
        """Where the next entry's body starts, and its length; None until it is known."""
        if not self._pending:
            return None
        if self._pending[0] != CATCHUP_ENTRY:
            raise HandshakeError(f"tag {self._pending[0]:#x} in a CatchupBuffer, not an entry")
        length = 0
        for index, byte in enumerate(self._pending[1 : 1 + MAX_VARINT]):
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if not MIN_PACKET <= length <= MAX_PACKET:
                    raise FrameError(
                        f"catch-up entry of {length} bytes; {MIN_PACKET} to {MAX_PACKET} allowed"
                    )
                return index + 2, length
        if len(self._pending) > MAX_VARINT:
            raise FrameError("the length of a catch-up entry does not end")
        return None


def connect_request_frame(request: ConnectRequest) -> bytes:
    """The client's first bytes on a connection."""
    return handshake_frame(encode_connect_request(request))


def connect_response_frame(response: ConnectResponse) -> bytes:
    """The server's answer to them."""
    return handshake_frame(encode_connect_response(response))


def relay_failure_frame(failure: RelayFailure) -> bytes:
    """A relay's answer, if it has one."""
    return handshake_frame(encode_relay_failure(failure))


def first_request(preface: bytes) -> tuple[ConnectRequest, bytes]:
    """Take apart what a door has read: the ConnectRequest, and what came behind it.

    Raises:
      PeerError: it does not begin with a whole one, as every door makes sure.
    """
    if len(preface) < HANDSHAKE_LENGTH.size:
        raise FrameError("no ConnectRequest")
    end = HANDSHAKE_LENGTH.size + HANDSHAKE_LENGTH.unpack_from(preface)[0]
    if not HANDSHAKE_LENGTH.size <= end <= len(preface):
        raise FrameError("no whole ConnectRequest")
    request = decode_connect_request(preface[HANDSHAKE_LENGTH.size : end])
    return request, preface[end:]


def sequence_header_frame(received: int) -> bytes:
    """Say how many packets have been received, on either side of a resume."""
    return handshake_frame(encode_sequence_header(received))


def catchup_entry(body: bytes) -> bytes:
    """One packet body as an entry of a CatchupBuffer."""
    return bytes((CATCHUP_ENTRY,)) + _varint(len(body)) + body


def catchup_head(sizes: list[int]) -> bytes:
    """The length before a CatchupBuffer whose entries have bodies of these sizes.

    The buffer is one message with its length first; sent entry by entry, it never needs
    to exist as a whole.

    Raises:
      HandshakeError: the whole would be longer than any peer accepts.
    """
    total = sum(1 + len(_varint(size)) + size for size in sizes)
    if total > MAX_CATCHUP:
        raise HandshakeError(f"a catch-up of {total} bytes; limit {MAX_CATCHUP}")
    return HANDSHAKE_LENGTH.pack(total)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
