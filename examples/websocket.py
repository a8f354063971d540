"""WebSocket over an eternal stream, by wsproto: a chat that does not notice that it moved."""

from __future__ import annotations

import secrets
from collections import deque

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)

import trioet


class WebSocket:
    """One side, once :meth:`shake_hands` has returned."""

    def __init__(self, stream: trio.abc.Stream, side: ConnectionType) -> None:
        self._stream = stream
        self._side = side
        self._protocol = WSConnection(side)
        self._come: deque[Event] = deque()

    async def shake_hands(self) -> None:
        """Ask for a WebSocket, or grant it."""
        if self._side is ConnectionType.CLIENT:
            await self._say(Request(host="eternal", target="/"))
        match await self._next_event():
            case Request():
                await self._say(AcceptConnection())
            case AcceptConnection():
                pass
            case other:
                raise ValueError(f"no WebSocket: {other}")

    async def send(self, text: str) -> None:
        await self._say(TextMessage(data=text))

    async def receive(self) -> str | None:
        """What the other says next; None when it has closed."""
        text = ""
        while True:
            match await self._next_event():
                case TextMessage(data=data, message_finished=finished):
                    text += data
                    if finished:
                        return text
                case Ping() as ping:
                    await self._say(ping.response())
                case CloseConnection() as closing:
                    if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                        await self._say(closing.response())
                    return None
                case other:
                    raise ValueError(f"only text is spoken here: {other}")

    async def close(self) -> None:
        await self._say(CloseConnection(code=1000))

    async def _say(self, event: Event) -> None:
        await self._stream.send_all(self._protocol.send(event))

    async def _next_event(self) -> Event:
        while not self._come:
            data = await self._stream.receive_some()
            self._protocol.receive_data(bytes(data) or None)
            self._come.extend(self._protocol.events())
        return self._come.popleft()


async def serve_websocket(stream: trioet.EternalStream) -> None:
    """A handler for ``serve_eternal``: answers everything in capital letters."""
    socket = WebSocket(stream, ConnectionType.SERVER)
    await socket.shake_hands()
    while (text := await socket.receive()) is not None:
        await socket.send(text.upper())


async def main() -> None:
    psk = secrets.token_bytes(32)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[trioet.EternalServer]) -> None:
            await trioet.serve_eternal(serve_websocket, 0, psk=psk, task_status=task_status)

        server = await nursery.start(serve)
        async with trioet.open_eternal_stream("localhost", server.port, psk=psk) as stream:
            socket = WebSocket(stream, ConnectionType.CLIENT)
            await socket.shake_hands()
            await socket.send("hello")
            print(await socket.receive())
            await socket.close()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
