"""One connection of a browser: TLS, requests one after the other, or a WebSocket.

Requests are parsed here, as websockets knows no POST; the head of one that asks for a
WebSocket is given to websockets as it came.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import trio

from trioet.link.line import NOTSENT_LOWAT, USER_TIMEOUT_MS, source_of, source_of_host
from trioet.link.quick_stream import QuickStream
from trioet.web.limits import ANYBODY, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, Full, Seats
from trioet.web.options import DEFAULT_PING_S
from trioet.web.site import ALWAYS, HSTS, Answer, Refusal, Site, json_answer
from trioet.web.websocket import Gone, WebSocket, answer_upgrade
from trioet.wire.web_forwarded import UNIX, Proxies, scheme
from trioet.wire.web_http import MAX_HEAD, BadRequest, Request, answer_head, parse_head

log = logging.getLogger(__name__)

REQUEST_DEADLINE_S: Final = 10.0
"""From accept, or the last answer's end, to a whole request; TLS included."""

IDLE_S: Final = 15.0
"""How long a connection waits for another request."""

ANSWER_DEADLINE_S: Final = 60.0
"""For whoever reads an answer slowly."""

END_OF_HEAD: Final = b"\r\n\r\n"
_TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; Python names it from 3.12 on
_TCP: Final = socket.IPPROTO_TCP

TOO_MANY: Final = json_answer(
    {"error": "too many connections from your address", "hint": "close some"},
    HTTPStatus.TOO_MANY_REQUESTS,
)

_GONE: Final = trio.BrokenResourceError, trio.ClosedResourceError

Handler = Callable[[WebSocket, Request, str], Awaitable[None]]
"""Serves a WebSocket that was accepted: with the request it began with, and its source."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A subprotocol of the WebSocket."""

    serve: Handler
    max_message: int
    """Bytes of a message from a browser."""

    asks_itself: bool = False
    """A login may be in its first message, and its clients need say no Origin."""


class Front:
    """What all connections have in common. ``context`` is for TLS, and may be replaced."""

    def __init__(
        self,
        site: Site,
        spoken: Mapping[str, Spoken],
        context: ssl.SSLContext | None = None,
        *,
        ping_s: float = DEFAULT_PING_S,
        proxies: Proxies | None = None,
    ) -> None:
        """``spoken`` by subprotocol; the one of the empty name is for who names none. ``proxies``
        are believed whom they ask for."""
        self._site = site
        self._spoken = spoken
        self.context = context
        self._ping_s = ping_s
        self._proxies = proxies or Proxies()
        self._seats = Seats(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE)
        self._behind = Seats(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE)
        """The same for who comes by a proxy, while something is done for him."""
        self._always = (*ALWAYS, HSTS) if context is not None else ALWAYS
        self._open: set[WebSocket] = set()

    def __repr__(self) -> str:
        return f"<Front connections={len(self._seats)}>"

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve a connection to its end; owns it. What comes on it harms nobody else."""
        sock = socket.socket(fileno=stream.socket.detach())
        transport = QuickStream(sock)
        source, peer = source_of(sock), _peer(sock)
        is_proxy = self._proxies.include(peer)
        try:
            with self._seats.taken(ANYBODY if is_proxy else source):
                await self._serve(transport, _Source(source, peer if is_proxy else ""))
        except* Full:
            log.info("too many connections from %s", source)
        except* (*_GONE, Gone, trio.TooSlowError):
            pass
        except* Exception:
            log.exception("a fault in trioet; please report it")
        finally:
            await trio.aclose_forcefully(transport)

    async def ask_after_the_silent(self) -> None:
        """Ask those who have said nothing for a while for a sign of life, and give up those who
        owe us one; until cancelled. One task for all, as each would take memory and wake us."""
        if not self._ping_s:
            return
        while True:
            await trio.sleep(self._ping_s)
            async with trio.open_nursery() as nursery:
                for browser in self._open:
                    nursery.start_soon(browser.ask_if_silent)

    async def _serve(self, transport: QuickStream, origin: _Source) -> None:
        with suppress(OSError):  # a Unix socket has neither
            transport.socket.setsockopt(_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
            transport.socket.setsockopt(_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        stream: trio.abc.Stream = transport
        if self.context is not None:
            tls = trio.SSLStream(transport, self.context, server_side=True, https_compatible=True)
            with trio.fail_after(REQUEST_DEADLINE_S):
                await tls.do_handshake()
            stream = tls
        unread, patience = b"", REQUEST_DEADLINE_S
        while True:
            try:
                with trio.fail_after(patience):
                    head, unread = await _read_head(stream, unread)
                if not head:
                    return
                request, source = self._asked(parse_head(head), origin)
                seat = self._behind.taken(source) if origin.proxy else nullcontext()
                with seat:
                    if request.wants_websocket:
                        await self._serve_websocket(stream, head, unread, request, source)
                        return
                    with trio.fail_after(REQUEST_DEADLINE_S):
                        body, unread = await _read_body(stream, unread, request.length)
                    answer = await self._site.answer(request, body, source)
                    await self._send(
                        stream,
                        answer,
                        keeps_alive=request.keeps_alive,
                        no_body=request.method == "HEAD",
                    )
            except BadRequest as error:
                answer = json_answer({"error": str(error), "hint": ""}, error.status)
                await self._send(stream, answer, keeps_alive=False)
                return
            except Full:
                log.info("too many connections from %s", source)
                await self._send(stream, TOO_MANY, keeps_alive=False)
                return
            if not request.keeps_alive:
                return
            patience = IDLE_S

    def _asked(self, request: Request, origin: _Source) -> tuple[Request, str]:
        """A request with the browser's scheme, and its source: a proxy is asked for both."""
        spoken = "https" if self.context is not None else ""
        if not origin.proxy:
            return replace(request, scheme=spoken), origin.name
        source = _source_of_visitor(self._proxies.visitor(origin.proxy, request.fields))
        return replace(request, scheme=scheme(request.fields) or spoken), source

    async def _send(
        self, stream: trio.abc.Stream, answer: Answer, *, keeps_alive: bool, no_body: bool = False
    ) -> None:
        fields = [*answer.fields, *self._always]
        if answer.status is not HTTPStatus.NOT_MODIFIED:
            fields.append(("Content-Length", str(len(answer.body))))
        if not keeps_alive:
            fields.append(("Connection", "close"))
        head = answer_head(answer.status, fields)
        with trio.fail_after(ANSWER_DEADLINE_S):
            await stream.send_all(head if no_body else head + answer.body)

    # WebSocket

    async def _serve_websocket(
        self, stream: trio.abc.Stream, head: bytes, unread: bytes, request: Request, source: str
    ) -> None:
        name = self._chosen(request)
        spoken = self._spoken.get(name)
        try:
            self._site.check_host(request)
            if spoken is None or self._site.place(request) != "ws":
                raise Refusal(HTTPStatus.NOT_FOUND, "there is no such WebSocket here")
            self._site.check_origin(request, required=not spoken.asks_itself)
            if not (spoken.asks_itself or await self._site.may_connect(request, source)):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "log in first")
        except Refusal as refusal:
            await self._send(stream, refusal.answer, keeps_alive=False)
            return
        accepted, said = answer_upgrade(head + END_OF_HEAD, name)
        with trio.fail_after(REQUEST_DEADLINE_S):
            await stream.send_all(said)
        if not accepted:
            return
        async with WebSocket(stream, unread, spoken.max_message) as browser:
            self._open.add(browser)
            try:
                await spoken.serve(browser, request, source)
            finally:
                self._open.discard(browser)

    def _chosen(self, request: Request) -> str:
        """The first subprotocol of a client's that is spoken here, if any is."""
        offered = request.fields.get("sec-websocket-protocol", "").split(",")
        words = [each.strip() for each in offered]
        return next((word for word in words if word in self._spoken), words[0])


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a connection comes from."""

    name: str
    proxy: str
    """Its address, if it is a proxy that is believed."""


def _peer(sock: socket.socket) -> str:
    """The address of the other end, or UNIX."""
    try:
        name = sock.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else UNIX


def _source_of_visitor(address: str) -> str:
    """What somebody behind a proxy is counted as."""
    return ANYBODY if address == UNIX else source_of_host(address)


async def _read_head(stream: trio.abc.Stream, unread: bytes) -> tuple[bytes, bytes]:
    """Return a head without the empty line, and what came behind it; nothing at the end.

    Raises:
      BadRequest: it is too long, or ends in the middle.
    """
    while (end := unread.find(END_OF_HEAD)) < 0:
        if len(unread) > MAX_HEAD:
            break
        data = await stream.receive_some(MAX_HEAD)
        if not data and not unread:
            return b"", b""
        if not data:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the end in the middle of a request")
        unread += data
    if not 0 <= end <= MAX_HEAD:
        what = f"a request with more than {MAX_HEAD} bytes before its body"
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, what)
    return unread[:end], unread[end + len(END_OF_HEAD) :]


async def _read_body(stream: trio.abc.Stream, unread: bytes, length: int) -> tuple[bytes, bytes]:
    while len(unread) < length:
        data = await stream.receive_some(length - len(unread))
        if not data:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the end in the middle of a body")
        unread += data
    return unread[:length], unread[length:]
