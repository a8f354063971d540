"""Carry streams on to where a proxy leads, each by a connection, or an eternal stream, of its
own."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import trio

from trioet.errors import LocalError
from trioet.eternal.opening import open_eternal_stream
from trioet.eternal.stream import EternalStream
from trioet.proxy.figures import Figures
from trioet.proxy.joining import join
from trioet.session.destinations import connect, reset
from trioet.wire.forward import Address, Endpoint

MAX_ENTERING: Final = 16
"""Eternal streams that are being opened at once: a server takes 32 newcomers from one source."""

log = logging.getLogger(__name__)

OpenStream = Callable[[], AbstractAsyncContextManager[trio.abc.HalfCloseableStream]]
"""Opens a stream for as long as a block lasts. Raises LocalError: it cannot be had."""


class Onward:
    """Carries connections on to what ``open_far`` opens for each."""

    def __init__(self, name: str, open_far: OpenStream, figures: Figures) -> None:
        """``name`` is where that leads, for people."""
        self._name = name
        self._open_far = open_far
        self._figures = figures

    async def carry_socket(self, sock: socket.socket) -> None:
        """Carry an accepted connection to its end; closes it. Cancellation resets it."""
        near = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        async with near:
            await self._carry(near, partial(reset, sock))

    async def carry_eternal(self, near: EternalStream) -> None:
        """Carry an eternal stream to its end. Cancellation aborts it."""
        await self._carry(near, near.abort)

    async def _carry(self, near: trio.abc.HalfCloseableStream, abort: Callable[[], None]) -> None:
        """One that breaks, or cannot be carried on, is aborted."""
        try:
            async with self._open_far() as far:
                await join(near, far, self._figures.traffic)
        except* (LocalError, trio.BrokenResourceError) as group:
            abort()
            self._figures.failed += 1
            log.warning("%s: %s", self._name, _first(group))
        except* BaseException:
            abort()
            raise


def plain(destination: Endpoint) -> OpenStream:
    """Connect to a place, with the names that this machine knows."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[trio.abc.HalfCloseableStream]:
        sock = await connect(destination)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            yield stream

    return opened


def eternal(destination: Address, key: bytes) -> OpenStream:
    """Open eternal streams to the proxy that listens there and has the same key."""
    entering = trio.CapacityLimiter(MAX_ENTERING)

    @asynccontextmanager
    async def opened() -> AsyncIterator[trio.abc.HalfCloseableStream]:
        async with AsyncExitStack() as stack:
            async with entering:
                stream = await stack.enter_async_context(
                    open_eternal_stream(destination.host, destination.port, psk=key)
                )
            yield stream

    return opened


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
