"""A WebSocket on one side, a connection to the keeper on the other; bytes that nobody looks at.

Each direction waits until what it read has been taken: a visitor who reads nothing stops the
program, and a program that reads nothing the visitor. So a flood takes no memory here.
"""

from __future__ import annotations

from typing import Final

import trio
from websockets.frames import CloseCode

from trioet.web.websocket import Gone, WebSocket
from trioet.wire.framing import HANDSHAKE_LENGTH, MAX_HANDSHAKE_FRAME

PIECE: Final = 64 * 1024
"""Bytes read from the keeper at once, and the size of the largest message to a browser."""


async def next_words(browser: WebSocket) -> bytes | None:
    """The next message; None if there is none. Text costs the connection.

    Cancellation loses nothing.
    """
    try:
        message = await browser.receive()
        if isinstance(message, bytes):
            return message
        await browser.close(CloseCode.UNSUPPORTED_DATA, "binary messages only")
    except Gone:
        pass
    return None


async def first_words(browser: WebSocket) -> bytes | None:
    """What comes until the ConnectRequest is whole, or cannot become one; None if nothing does."""
    said = b""
    while _lacks_something(said):
        message = await next_words(browser)
        if message is None:
            return None
        said += message
    return said


def _lacks_something(said: bytes) -> bool:
    head = HANDSHAKE_LENGTH.size
    if len(said) < head:
        return True
    length: int
    (length,) = HANDSHAKE_LENGTH.unpack_from(said)
    return 0 <= length <= MAX_HANDSHAKE_FRAME and len(said) < head + length


async def relay(browser: WebSocket, line: trio.abc.Stream) -> None:
    """Pass on what comes, both ways, until one side has ended; then end the other.

    Owns the keeper's line. If the keeper closes it, that closes the WebSocket with 1000, behind
    its last byte. Cancellation closes the line, and leaves the WebSocket to its owner.
    """
    async with line, trio.open_nursery() as nursery:
        nursery.start_soon(_to_browser, line, browser, nursery.cancel_scope)
        await _to_keeper(browser, line)
        nursery.cancel_scope.cancel()


async def _to_browser(line: trio.abc.Stream, browser: WebSocket, both: trio.CancelScope) -> None:
    try:
        while data := await line.receive_some(PIECE):
            await browser.send(data)
    except trio.BrokenResourceError:
        pass  # the keeper has gone; its successor, if there is one, knows no more of the session
    except Gone:
        both.cancel()
        return
    await browser.close(CloseCode.NORMAL_CLOSURE)
    both.cancel()


async def _to_keeper(browser: WebSocket, line: trio.abc.Stream) -> None:
    try:
        while (message := await next_words(browser)) is not None:
            await line.send_all(message)
    except trio.BrokenResourceError:
        await trio.sleep_forever()  # what the keeper said before it closed is still on its way
