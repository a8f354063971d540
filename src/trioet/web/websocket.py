"""A browser's WebSocket, on websockets' sans-IO protocol: messages in and out, and no task.

Whoever waits for a message reads the connection, and so answers pings and takes part in the
close. That is a wake-up less for every key than with a task that reads for another, which is
how `websockets.trio` does it, and a good part of an idle viewer's memory.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Final

import trio
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

CLOSE_S: Final = 10.0
"""How long the other side may take for its part of a close, or to take an answer."""

PIECE: Final = 64 * 1024

_GONE: Final = trio.BrokenResourceError, trio.ClosedResourceError


class Gone(Exception):
    """The WebSocket is closed, or its connection is lost."""


def answer_upgrade(head: bytes, subprotocol: str) -> tuple[bool, bytes]:
    """Answer the request with this ``head``, empty line included.

    Returns whether there is a WebSocket now, and what is to be said in any case.
    """
    # With a protocol of its own, which keeps the whole request for as long as it lives.
    protocol = ServerProtocol(
        select_subprotocol=lambda *_: Subprotocol(subprotocol) if subprotocol else None
    )
    protocol.receive_data(head)
    for request in protocol.events_received():
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
    return protocol.state is State.OPEN, b"".join(protocol.data_to_send())


class WebSocket(trio.abc.AsyncResource):
    """One that was asked for, and accepted; owns the stream.

    One task at a time receives; any may send and close. A send that is cancelled ends the
    connection: nobody knows how much of the message has gone.
    """

    def __init__(self, stream: trio.abc.Stream, unread: bytes, max_message: int) -> None:
        """``unread`` came behind the request."""
        self._stream = stream
        self._unread = unread
        self._protocol = Protocol(Side.SERVER, max_size=max_message)
        self._arrived: deque[bytes | str] = deque()
        self._fragments = bytearray()
        self._is_text = False
        self._heard = False
        self._asked = False
        """Since the last look: whether they said something; whether they owe us a sign of life."""
        self._reading = trio.Lock()
        self._sending = trio.Lock()

    def __repr__(self) -> str:
        return f"<WebSocket {self._protocol.state.name}>"

    async def aclose(self) -> None:
        """Close what nobody has closed: there was a fault."""
        await self.close(CloseCode.INTERNAL_ERROR)

    async def receive(self) -> bytes | str:
        """Return the next message. Cancellation loses nothing.

        Raises:
          Gone: there are no more.
        """
        if not self._arrived:
            self._check_open()
            self._reading.acquire_nowait()
            try:
                while not self._arrived:
                    self._check_open()
                    await self._read()
            finally:
                self._reading.release()
        return self._arrived.popleft()

    async def send(self, message: bytes | bytearray | str) -> None:
        """Send a message.

        Raises:
          Gone: it cannot be.
        """
        # A free lock that is taken with `async with` costs a turn of all other tasks.
        if self._sending.locked():
            await self._sending.acquire()
        else:
            self._sending.acquire_nowait()
        try:
            self._check_open()
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
            await self._flush()
        finally:
            self._sending.release()

    async def close(self, code: int, reason: str = "") -> None:
        """Close it, if it is open, and wait until the other side has done so, for a while.

        What was sent goes before. The connection is closed in any case.
        """
        try:
            with trio.move_on_after(CLOSE_S), suppress(Gone):
                async with self._sending:
                    if self._protocol.state is State.OPEN:
                        self._protocol.send_close(code, reason)
                        await self._flush()
                async with self._reading:
                    # Who has said a close says nothing more; others are read to their end, as
                    # what is not read would become a reset, and that overtake our close.
                    while not (self._protocol.close_rcvd or self._protocol.state is State.CLOSED):
                        self._arrived.clear()
                        await self._read()
        finally:
            await trio.aclose_forcefully(self._stream)

    async def ask_if_silent(self) -> None:
        """Ask the other side for a sign of life, if it said nothing since the last call, and give
        it up if it did not answer. Not while nobody receives, or a message is stuck on its way,
        which tells nothing, or as much."""
        silent, self._heard = not self._heard, False
        if not silent or not self._reading.locked() or self._sending.locked():
            self._asked = False
        elif self._asked:
            await trio.aclose_forcefully(self._stream)
        else:
            self._asked = True
            self._protocol.send_ping(b"")
            with suppress(Gone):
                await self._answer()

    def _check_open(self) -> None:
        if self._protocol.state is not State.OPEN:
            raise Gone

    # In

    async def _read(self) -> None:
        """Read what comes next.

        Raises:
          Gone: it cannot be answered.
        """
        data: bytes | bytearray = self._unread
        self._unread = b""
        with suppress(*_GONE):
            data = data or await self._stream.receive_some(PIECE)
        self._heard = True
        if self._take(data):
            await self._answer()

    def _take(self, data: bytes | bytearray) -> bool:
        """Take what was read, or its end; return whether something is to be answered."""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        pinged = False
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            pinged |= frame.opcode is Opcode.PING
            if frame.opcode in DATA_OPCODES and not self._assemble(frame):
                break
        return pinged or self._protocol.state is not State.OPEN

    def _assemble(self, frame: Frame) -> bool:
        """Take a part of a message, or the whole; False if that was no message."""
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments += frame.data
        if not frame.fin:
            return True
        message = bytes(self._fragments)
        self._fragments.clear()
        try:
            self._arrived.append(message.decode() if self._is_text else message)
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is no UTF-8")
            return False
        return True

    # Out

    async def _answer(self) -> None:
        """Send what the protocol has to say: whole, for other messages may follow.

        Raises:
          Gone: it cannot be.
        """
        with trio.move_on_after(CLOSE_S, shield=True):
            async with self._sending:
                await self._flush()

    async def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:
                    await self._stream.send_all(data)
                elif isinstance(self._stream, trio.abc.HalfCloseableStream):
                    await self._stream.send_eof()
                else:
                    await self._stream.aclose()
        except _GONE:
            raise Gone from None
        except trio.Cancelled:
            await trio.aclose_forcefully(self._stream)
            raise
