"""HTTP/1.1 over an eternal stream, by h11: any sans-IO protocol runs over it unchanged.

The network is cut while it downloads, and neither side of HTTP notices.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import h11
import trio

import trioet


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes


async def serve_http(stream: trioet.EternalStream) -> None:
    """A handler for ``serve_eternal``: ``GET /N`` answers N bytes, ``POST`` a digest."""
    connection = h11.Connection(h11.SERVER)
    while True:
        request = await next_event(stream, connection)
        if not isinstance(request, h11.Request):
            return
        body = await read_body(stream, connection)
        if request.method == b"POST":
            answer = hashlib.sha256(body).hexdigest().encode()
        else:
            answer = b"x" * int(request.target[1:])
        headers = [(b"content-length", b"%d" % len(answer))]
        await stream.send_all(
            (connection.send(h11.Response(status_code=200, headers=headers)) or b"")
            + (connection.send(h11.Data(data=answer)) or b"")
            + (connection.send(h11.EndOfMessage()) or b"")
        )
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


class HttpClient:
    """Requests one after the other, all on one stream."""

    def __init__(self, stream: trioet.EternalStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def request(self, method: str, target: str, body: bytes = b"") -> Response:
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
        headers = [(b"host", b"eternal"), (b"content-length", b"%d" % len(body))]
        request = h11.Request(method=method, target=target, headers=headers)
        await self._stream.send_all(
            (self._connection.send(request) or b"")
            + (self._connection.send(h11.Data(data=body)) or b"")
            + (self._connection.send(h11.EndOfMessage()) or b"")
        )
        response = await next_event(self._stream, self._connection)
        assert isinstance(response, h11.Response)
        return Response(response.status_code, await read_body(self._stream, self._connection))


async def next_event(stream: trio.abc.ReceiveStream, connection: h11.Connection) -> object:
    """The next event, whatever has to be received for it."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some()))
    return event


async def read_body(stream: trio.abc.ReceiveStream, connection: h11.Connection) -> bytes:
    body = b""
    while isinstance(event := await next_event(stream, connection), h11.Data):
        body += event.data
    return body


async def main() -> None:
    psk = secrets.token_bytes(32)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[trioet.EternalServer]) -> None:
            await trioet.serve_eternal(serve_http, 0, psk=psk, task_status=task_status)

        server = await nursery.start(serve)
        async with trioet.open_eternal_stream("localhost", server.port, psk=psk) as stream:
            response = await HttpClient(stream).request("GET", "/1000")
            print(response.status, len(response.body), "bytes")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
