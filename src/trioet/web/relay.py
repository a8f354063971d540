"""A WebSocket on one side, a connection to the keeper on the other; bytes that nobody looks at.

Each direction waits until what it read has been taken: a visitor who reads nothing stops the
program, and a program that reads nothing the visitor. So a flood takes no memory here.
"""

from __future__ import annotations

import socket
from typing import Final

import trio
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.trio.server import ServerConnection

PIECE: Final = 64 * 1024
"""Bytes read from the keeper at once, and the size of the largest message to a browser."""


async def next_words(browser: ServerConnection) -> bytes | None:
    """The next message; None if there is none. Text costs the connection.

    Cancellation loses nothing.
    """
    try:
        message = await browser.recv()
        if isinstance(message, bytes):
            return message
        await browser.aclose(CloseCode.UNSUPPORTED_DATA, "binary messages only")
    except ConnectionClosed:
        pass
    return None


async def relay(browser: ServerConnection, keeper: socket.socket, first: bytes) -> None:
    """Pass on what comes, both ways, until one side has ended; then end the other.

    ``first`` came from the browser already.

    Owns the keeper's socket. A line that the keeper closes closes the WebSocket with 1000, behind
    its last byte. Cancellation closes the socket, and leaves the WebSocket to its owner.
    """
    line = trio.SocketStream(trio.socket.from_stdlib_socket(keeper))
    async with line, trio.open_nursery() as nursery:
        nursery.start_soon(_to_browser, line, browser, nursery.cancel_scope)
        await _to_keeper(browser, line, first)
        nursery.cancel_scope.cancel()


async def _to_browser(
    line: trio.SocketStream, browser: ServerConnection, both: trio.CancelScope
) -> None:
    try:
        while data := await line.receive_some(PIECE):
            await browser.send(data)
    except trio.BrokenResourceError:
        pass  # the keeper has gone; its successor, if there is one, knows no more of the session
    except ConnectionClosed:
        both.cancel()
        return
    await browser.aclose(CloseCode.NORMAL_CLOSURE)
    both.cancel()


async def _to_keeper(browser: ServerConnection, line: trio.SocketStream, first: bytes) -> None:
    message: bytes | None = first
    try:
        while message is not None:
            await line.send_all(message)
            message = await next_words(browser)
    except trio.BrokenResourceError:
        await trio.sleep_forever()  # what the keeper said before it closed is still on its way
