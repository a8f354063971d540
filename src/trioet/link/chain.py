"""A chain of relays: a line that goes through jumphosts, each passed as a proxy would be.

The client tells each hop by a ConnectRequest which of its relays it wants, one behind the
other and without waiting; the request for the session itself follows. A relay that gets
through says nothing, so the first answer is the session's own, unless a relay says that it
could not connect onward.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trioet.errors import MessageError
from trioet.link.line import Line, LineBroken
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME
from trioet.wire.handshake import connect_request_frame
from trioet.wire.messages import ConnectRequest, RelayFailure, decode_relay_failure

MAX_REASON: Final = 400
"""Characters of a relay's own words that are shown."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A jumphost, as its user calls it, and the relay there that leads on."""

    name: str
    relay_id: bytes
    own_door: bool = False
    """No router listens there, but the user's keeper itself: if that is started anew, maybe at
    another port."""


class RelayFailed(LineBroken):
    """A jumphost could not connect onward. Says which and why.

    It is as little proof of anything as any broken line: a relay's answer has no seal.
    """


class Chain:
    """A way through jumphosts, for however many connections."""

    def __init__(self, hops: Sequence[Hop]) -> None:
        self.hops = tuple(hops)
        """The first to be reached first. Whoever has asked for new relays puts them here."""
        self.complaint = ""
        """Why there are no new relays for those that are gone, for people."""
        self.on_gone: Callable[[], None] = lambda: None
        """Called when a jumphost seems to have forgotten its relay: ask for new ones."""

    def __repr__(self) -> str:
        return f"<Chain {' '.join(hop.name for hop in self.hops)}>"

    async def dial(self, reach: Callable[[], Awaitable[Line]]) -> Line:
        """Return a line through all hops, the first of which ``reach`` reaches.

        Nothing is waited for but that: whether a hop gets through shows on the line.
        Cancellation leaves nothing open.

        Raises:
          OSError, LineBroken: the first hop cannot be reached.
        """
        hops = self.hops
        try:
            line = await reach()
        except OSError as error:
            if hops[0].own_door and _refused(error):
                self._gone(hops)
            raise
        requests = b"".join(
            connect_request_frame(ConnectRequest(hop.relay_id, relay=True)) for hop in hops
        )
        try:
            while requests:
                requests = requests[line.try_send(requests) :]
                if requests:
                    await line.wait_writable()
        except BaseException:
            line.close()
            raise
        return ChainLine(line, self, hops)

    def failed(self, hops: Sequence[Hop], failure: RelayFailure) -> RelayFailed:
        """The error for what a relay says, who was asked on behalf of ``hops``."""
        name, next_door = "a jumphost", False
        for hop, after in zip(hops, [*hops[1:], None], strict=True):
            if hop.relay_id == failure.relay:
                name, next_door = hop.name, after is not None and after.own_door
        if failure.unknown or (failure.refused and next_door):
            self._gone(hops)
        why = f" ({self.complaint})" if self.complaint else ""
        if failure.unknown:
            return RelayFailed(f"{name} no longer knows this session's way{why}")
        reason = failure.reason.decode(errors="replace")[:MAX_REASON]
        reason = "".join(char for char in reason if char.isprintable())
        return RelayFailed(f"{name} {reason or 'cannot relay'}{why}")

    def _gone(self, hops: Sequence[Hop]) -> None:
        if hops == self.hops:  # else there are new relays already
            self.on_gone()


class ChainLine:
    """A line through relays: any line, whose first answer may be that of a relay."""

    def __init__(self, line: Line, chain: Chain, hops: Sequence[Hop]) -> None:
        self._line = line
        self._chain = chain
        self._hops = hops
        self._first: bytes | None = b""
        """What came of the first answer; None once it is known whose that is."""

    def __repr__(self) -> str:
        return f"<ChainLine {self.peer_name}>"

    @property
    def peer_name(self) -> str:
        """Where the chain begins; and through how many hops it leads."""
        return f"{self._line.peer_name}, through {len(self._hops)} more"

    @property
    def source(self) -> str:
        return self._line.source

    def try_send(self, data: bytes | memoryview) -> int:
        return self._line.try_send(data)

    def can_send(self) -> bool:
        return self._line.can_send()

    async def wait_writable(self) -> None:
        await self._line.wait_writable()

    async def receive(self) -> bytes:
        if self._first is None:
            return await self._line.receive()
        while (data := await self._line.receive()) and not _is_whole(self._first + data):
            self._first += data
        answer, self._first = self._first + data, None
        self._look_for_failure(answer)
        return answer

    def shutdown(self) -> None:
        self._line.shutdown()

    def close(self) -> None:
        self._line.close()

    def _look_for_failure(self, answer: bytes) -> None:
        start = HANDSHAKE_LENGTH.size
        end = start + HANDSHAKE_LENGTH.unpack_from(answer.ljust(start, b"\0"))[0]
        try:
            failure = decode_relay_failure(answer[start:end])
        except MessageError:
            return  # no answer at all: the handshake will see
        if failure is not None:
            raise self._chain.failed(self._hops, failure)


def _refused(error: OSError) -> bool:
    """True when nobody listens there, at one address at least (Trio tries several)."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        return error.__cause__.subgroup(ConnectionRefusedError) is not None
    return isinstance(error, ConnectionRefusedError)


def _is_whole(answer: bytes) -> bool:
    """True when an answer is whole, or can be none: the handshake will see."""
    if len(answer) < HANDSHAKE_LENGTH.size:
        return False
    length: int = HANDSHAKE_LENGTH.unpack_from(answer)[0]
    if not 0 <= length <= MAX_HANDSHAKE_FRAME:
        return True
    return len(answer) >= HANDSHAKE_LENGTH.size + length
