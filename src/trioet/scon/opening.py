"""open_scon_stream: a session with a backend behind an SCP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from trioet.errors import PeerError, SessionLost, StepFailed, TrioetError
from trioet.link.dial import dial as dial_tcp
from trioet.link.line import Line
from trioet.link.reconnect import Reconnector, explain
from trioet.scon.calling import BackendEnded
from trioet.scon.policy import MAX_KEPT, Secure
from trioet.scon.stream import SconStream

CLOSE_TIMEOUT_S: Final = 10.0

ASK_AFTER_S: Final = 10
"""Silence after which our kernel asks the server's: the protocol has no other sign of life, and a
server waits 30 s for who must come back."""

CONNECT_HINT: Final = "is a goscon or a `trioet scon serve` running there?"
PEER_HINT: Final = "is that a goscon or a `trioet scon serve`, and has it the same key?"


@asynccontextmanager
async def open_scon_stream(
    host: str,
    port: int,
    target: bytes | str = b"",
    *,
    flags: int = 0,
    secure: Secure = Secure.OFFERED,
    psk: bytes = b"",
    dial: Callable[[], Awaitable[Line]] | None = None,
    on_state: Callable[[str], None] = lambda _: None,
    max_kept: int = MAX_KEPT,
    close_timeout: float = CLOSE_TIMEOUT_S,
) -> AsyncIterator[SconStream]:
    """Open a stream to the backend that the server calls ``target``, while the block lasts.

    ``flags``: 1 asks the server not to tell the backend who we are. ``secure``: whether the
    session is sealed; ``psk``: a key of at most 64 bytes that the server has too, for sealed
    sessions. ``dial`` makes a connection, instead of TCP to ``host`` and ``port``; several calls
    may overlap. ``on_state`` is told in a few words why there is no connection, and with an
    empty string when there is one again. ``max_kept``: bytes kept for a server that lost them.
    ``close_timeout``: see :meth:`SconStream.aclose`.

    At the end of the block the stream is closed, which delivers; if the block raises or is
    cancelled, nothing waits.

    Raises:
      StepFailed: no session could be had; says why, and what to do.
    """
    stream = SconStream(
        flags=flags, secure=secure, psk=psk, max_kept=max_kept, close_timeout=close_timeout
    )

    async def dial_here() -> Line:
        line = await dial_tcp(host, port)
        line.ask_after(ASK_AFTER_S)
        return line

    name = target.encode() if isinstance(target, str) else target
    reconnector = Reconnector(stream.link, name, dial or dial_here)
    keeper = _Keeper(stream, reconnector, on_state)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        nursery.start_soon(keeper.stop_when_closed)
        try:
            await keeper.wait_established(f"{host} port {port}")
            yield stream
            await stream.aclose()
        except BaseException as error:
            failure = error
        keeper.stop()
        stream.closed.set()
    stream.link.close()
    if failure is not None:
        raise failure


class _Keeper:
    """Keeps a stream's link attached, and tells the stream when that cannot be."""

    def __init__(
        self, stream: SconStream, reconnector: Reconnector, on_state: Callable[[str], None]
    ) -> None:
        self._stream = stream
        self._reconnector = reconnector
        self._on_state = on_state
        self._scope = trio.CancelScope(shield=True)
        self._failure: Exception | None = None
        self._changed = trio.Event()
        self._state = ""
        stream.link.on_change = self._line_changed

    def stop(self) -> None:
        """Close what there is."""
        self._scope.cancel()

    async def stop_when_closed(self) -> None:
        """Let go of the connection as soon as the stream needs it no more."""
        await self._stream.closed.wait()
        self.stop()

    async def wait_established(self, where: str) -> None:
        """Return when there is a session. Cancellation changes nothing.

        Raises:
          StepFailed: there will be none.
        """
        await self._changed.wait()
        if self._failure is None:
            return
        cause = self._failure.__cause__ or self._failure
        if isinstance(cause, PeerError):
            raise StepFailed("introduction", f"{where}: {cause}", PEER_HINT) from cause
        what = f"cannot connect to {where}: {explain(self._failure)}"
        raise StepFailed("connect", what, CONNECT_HINT) from cause

    async def run(self) -> None:
        """Until :meth:`stop`. Outlives the cancellation of who uses the stream."""
        failure: BaseException | None = None
        with self._scope:
            try:
                await self._reconnector.run()
            except* TrioetError as group:
                failure = group
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        if failure is None:
            return
        assert isinstance(failure, TrioetError), "nothing else is caught"
        self._failure = failure
        if isinstance(failure, BackendEnded):
            self._stream.ended()
        self._stream.lose(SessionLost(str(failure)))
        self._changed.set()

    def _line_changed(self) -> None:
        self._reconnector.line_changed()
        link = self._stream.link
        if link.attached:
            self._changed.set()
        else:
            self._reconnector.typed()  # a server waits for us, and not for long
        state = "" if link.attached else self._reconnector.reason
        if state != self._state:
            self._state = state
            self._on_state(state)
