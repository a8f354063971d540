"""A connection to a server that has answered a visitor's ConnectRequest: so it leads somewhere."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trioet.wire.handshake import Handshake, State
from trioet.wire.messages import ConnectResponse, ConnectStatus

PIECE = 64 * 1024


class Answered(trio.abc.Stream):
    """What came of the answer is read again, before all else."""

    def __init__(self, stream: trio.SocketStream, status: ConnectStatus, said: bytes) -> None:
        self.status = status
        self._stream = stream
        self._said = said
        self._at_end: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Call it when this is closed."""
        self._at_end.append(call)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._said:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        said, self._said = self._said[:max_bytes], self._said[max_bytes or len(self._said) :]
        return said

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        calls, self._at_end = self._at_end, []
        try:
            await self._stream.aclose()
        finally:
            for call in calls:
                call()


async def wait_answered(stream: trio.SocketStream, said: bytes = b"") -> Answered:
    """Return once the answer is there, of which ``said`` has come already.

    On error and cancellation the stream is closed.

    Raises:
      OSError: it ends before.
      PeerError: something else was said.
    """
    handshake = Handshake.client()
    data = said
    try:
        while True:
            for event in handshake.feed(data):
                if isinstance(event, ConnectResponse):
                    return Answered(stream, event.status, said)
            assert handshake.state is State.RESPONSE, "it is the first event"
            data = await stream.receive_some(PIECE)
            if not data:
                raise ConnectionResetError("closed without an answer")
            said += data
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectionResetError("the connection broke") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
