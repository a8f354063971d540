"""A visitor of `trioet web` for tests: HTTP, and the link through a WebSocket."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any, Final

import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from pairs import Inbox
from trioet.errors import TrioetError
from trioet.link.line import LineBroken
from trioet.link.reconnect import Reconnector
from trioet.link.resumable import ResumableLink, Role
from trioet.wire.messages import (
    Exec,
    InitialPayload,
    SessionOver,
    WindowSize,
    decode_session_over,
    decode_terminal_buffer,
    encode_initial_payload,
    encode_terminal_buffer,
    encode_terminal_info,
)
from trioet.wire.packet import PacketType
from waiting import until

FEATURES: Final = ("acks", "over", "quiet")
UNSENT: Final = 64 * 1024
"""Bytes that a line takes before it is full."""


class WebSocketLine:
    """A line over a WebSocket: what :class:`trioet.link.line.SocketLine` is over a socket."""

    peer_name = "trioet web"
    source = "web"

    def __init__(self, socket: ClientConnection, nursery: trio.Nursery) -> None:
        self.socket = socket
        self._unsent = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False
        self._nursery = nursery
        nursery.start_soon(self._send)

    def try_send(self, data: bytes | memoryview) -> int:
        if self._closed:
            raise LineBroken("closed")
        taken = min(len(data), UNSENT - len(self._unsent))
        self._unsent += data[:taken]
        self._changed.unpark_all()
        return taken

    def can_send(self) -> bool:
        return self._closed or len(self._unsent) < UNSENT

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.can_send():
            await self._changed.park()
        if self._closed:
            raise LineBroken("closed")

    async def _send(self) -> None:
        with suppress(ConnectionClosed):
            while not self._closed:
                while not self._unsent and not self._closed:
                    await self._changed.park()
                data, self._unsent = bytes(self._unsent), bytearray()
                self._changed.unpark_all()
                if data:
                    await self.socket.send(data)
        self.close()

    async def receive(self) -> bytes:
        try:
            message = await self.socket.recv(decode=False)
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == 1000:
                return b""
            raise LineBroken(str(error)) from error
        assert isinstance(message, bytes)
        return message

    def shutdown(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._changed.unpark_all()
            self._nursery.start_soon(self.socket.aclose)


@dataclass
class Reply:
    """An answer to a request."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever it is
        return json.loads(self.body)


@dataclass
class Browser:
    """Somebody who asks one `trioet web`, and keeps its cookie."""

    port: int
    base: str = "/"
    host: str = ""
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    tls: Any = None
    local: str | None = None
    """The address to come from."""
    unix: str = ""
    """The socket to come to instead."""

    @property
    def authority(self) -> str:
        return self.host or f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    async def stream(self) -> trio.abc.Stream:
        if self.unix:
            return await trio.open_unix_socket(self.unix)
        stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=self.local)
        if self.tls is None:
            return stream
        return trio.SSLStream(stream, self.tls, server_hostname="localhost", https_compatible=True)

    async def raw(self, data: bytes) -> bytes:
        """Say these bytes; return all that is answered."""
        with trio.fail_after(20):
            async with await self.stream() as stream:
                answer = b""
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                    while part := await stream.receive_some():
                        answer += part
                return answer

    async def ask(
        self,
        method: str,
        place: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request; ``headers`` with empty values are left out."""
        fields = {"Host": self.authority, "Connection": "close", **self.headers}
        if self.cookie:
            fields["Cookie"] = self.cookie
        if method == "POST":
            fields |= {"Origin": self.origin, "Content-Type": "application/json"}
            fields["Content-Length"] = str(len(body))
        fields |= headers or {}
        lines = [f"{method} {self.base}{place} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        answer = await self.raw("\r\n".join([*lines, "", ""]).encode() + body)
        return parse_reply(answer, method)

    async def get(self, place: str = "", **headers: str) -> Reply:
        return await self.ask("GET", place, headers=headers)

    async def post(
        self, place: str, value: object, headers: Mapping[str, str] | None = None
    ) -> Reply:
        reply = await self.ask("POST", place, json.dumps(value).encode(), headers)
        if cookie := reply.fields.get("set-cookie"):
            self.cookie = cookie.partition(";")[0]
        return reply

    def websocket(
        self,
        subprotocol: str | None = "trioet",
        headers: Mapping[str, str] | None = None,
        origin: str | None = "",
        query: str = "",
    ) -> connect:
        """A WebSocket, to be entered; with our own Origin unless another is given."""
        fields = dict(self.headers) | dict(headers or {})
        if self.cookie:
            fields["Cookie"] = self.cookie
        scheme = "wss" if self.tls else "ws"
        name = "localhost" if self.tls else "127.0.0.1"
        said = self.origin if origin == "" else origin
        return connect(
            f"{scheme}://{self.host or f'{name}:{self.port}'}{self.base}ws{query}",
            host="127.0.0.1",
            port=self.port,
            ssl=self.tls,
            origin=Origin(said) if said else None,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            additional_headers=fields,
            compression=None,
            proxy=None,
            max_size=None,
        )

    async def session(self, *arguments: str) -> tuple[bytes, bytes]:
        """Ask for a session; return its id and key."""
        reply = await self.post("api/session", {"arguments": list(arguments)})
        assert reply.status == 200, reply
        return reply.json["id"].encode(), reply.json["passkey"].encode()


class Visitor:
    """One who uses a session through the WebSocket, in tasks of a nursery."""

    def __init__(
        self, browser: Browser, nursery: trio.Nursery, credentials: tuple[bytes, bytes]
    ) -> None:
        self.browser = browser
        self.client_id, passkey = credentials
        self.inbox = Inbox()
        self.link = ResumableLink(passkey, Role.CLIENT, self.inbox)
        self.inbox.link = self.link
        self.link.agree_acks()
        self.socket: ClientConnection | None = None
        self.lost: TrioetError | None = None
        self._nursery = nursery
        self._scope = trio.CancelScope()

    def begin(self, payload: InitialPayload | None = None, size: WindowSize | None = None) -> None:
        """Say what is wished, and keep connected."""
        payload = payload or InitialPayload(features=FEATURES, exec=Exec())
        self.link.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        self.resize(size or WindowSize(24, 80))
        self._nursery.start_soon(self._keep_connected)

    async def _keep_connected(self) -> None:
        reconnector = Reconnector(self.link, self.client_id, self._dial)
        self.link.on_change = reconnector.line_changed
        try:
            with self._scope:
                await reconnector.run()
        except* TrioetError as errors:
            self.lost = next(each for each in errors.exceptions if isinstance(each, TrioetError))

    async def _dial(self) -> WebSocketLine:
        try:
            self.socket = await self._nursery.start(self._hold)
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            raise LineBroken(str(error)) from error
        assert self.socket is not None
        return WebSocketLine(self.socket, self._nursery)

    async def _hold(self, task_status: trio.TaskStatus[ClientConnection]) -> None:
        async with self.browser.websocket() as socket:
            task_status.started(socket)
            await socket.wait_closed()

    def leave(self) -> None:
        """Go away, for good or not."""
        self._scope.cancel()

    def type(self, text: bytes) -> None:
        self.link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))

    def resize(self, size: WindowSize) -> None:
        self.link.send(PacketType.TERMINAL_INFO, encode_terminal_info(size))

    @property
    def shown(self) -> bytes:
        """All that the program has written."""
        return b"".join(
            decode_terminal_buffer(packet.payload)
            for packet in self.inbox.packets
            if packet.type == PacketType.TERMINAL_BUFFER
        )

    async def until_shown(self, text: bytes) -> None:
        await until(lambda: text in self.shown, 20)

    @property
    def over(self) -> SessionOver | None:
        for packet in self.inbox.packets:
            if packet.type == PacketType.SESSION_OVER:
                return decode_session_over(packet.payload)
        return None

    async def until_over(self) -> SessionOver:
        """Wait for the end; let the keeper know that we were told."""
        await until(lambda: self.over, 20)
        self.link.send_keepalive()
        assert self.over is not None
        return self.over


def parse_reply(answer: bytes, method: str = "GET") -> Reply:
    """Read one answer, as the standard library understands it."""

    class Sock:
        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(answer)

    assert answer, "closed without an answer"
    response = HTTPResponse(Sock(), method=method)  # type: ignore[arg-type]
    response.begin()
    fields = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, fields, response.read())
