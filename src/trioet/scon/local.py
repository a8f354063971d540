"""A plain connection on this side, carried by a session: what goscon_proxy does, but resumed."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from trioet.scon.stream import SconStream

CHUNK: Final = 64 * 1024

LAST_WORDS_S: Final = 10.0
"""goscon's protocol cannot tell a backend that we have said all. So when our side has, the backend
may be silent for so long, and is then taken to have nothing more to say."""


class Near(Protocol):
    """The end on this side."""

    async def read(self, max_bytes: int) -> bytes:
        """Some bytes, b"" at the end or when it is gone. Cancellation loses nothing."""

    async def write(self, data: bytes) -> None:
        """All of it.

        Raises:
          trio.BrokenResourceError, LocalError: nobody reads any more.
        """

    async def end(self) -> None:
        """Nothing more will be written."""


class NearSocket:
    """A connection that was accepted here."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int) -> bytes:
        """As :class:`Near` says."""
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            return b""

    async def write(self, data: bytes) -> None:
        """As :class:`Near` says."""
        await self._stream.send_all(data)

    async def end(self) -> None:
        """As :class:`Near` says."""
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError:
            return


async def carry(near: Near, far: SconStream) -> None:
    """Copy both ways until both have ended, or one is gone. Cancellation loses what is under way.

    Raises:
      trio.BrokenResourceError: the session is lost, or nobody reads on this side.
      LocalError: as ``near`` raises it.
    """
    patience = trio.CancelScope()

    async def up() -> None:
        while data := await near.read(CHUNK):
            await far.send_all(data)
        await far.send_eof()
        if not far.link.sealed:
            patience.deadline = trio.current_time() + LAST_WORDS_S

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        with patience:
            while data := await far.receive_some(CHUNK):
                if patience.deadline != float("inf"):
                    patience.deadline = trio.current_time() + LAST_WORDS_S
                await near.write(data)
        await near.end()
        if not far.link.sealed:
            nursery.cancel_scope.cancel()  # the backend's end is the session's
