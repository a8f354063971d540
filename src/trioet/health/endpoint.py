"""A small HTTP endpoint beside a service: /healthz, /metrics, and what else it offers.

h11 reads the requests. One connection carries one request, within a deadline; nothing that
arrives here costs more than its own connection. GET changes nothing: what has an effect is
asked for by POST, and not by a web page. A page that somebody looks at on this machine can
send requests to its loopback ports, under a name of its own that it makes lead there (DNS
rebinding) or as a form that is posted; so a Host that is a foreign name is refused, and so
is a POST that tells of a page.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar

import h11
import trio

from trioet.health.metrics import CONTENT_TYPE, Metric, render

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 32
"""At once; who comes besides waits in the kernel's queue."""

DEADLINE_S: Final = 10.0
"""From accept to the last byte of the answer."""

ACCEPT_PAUSE_S: Final = 1.0
"""After accept failed, as for want of descriptors."""

MAX_HEAD: Final = 8 * 1024
"""Bytes of a request's first line and headers."""

MAX_BODY: Final = 4 * 1024
"""Bytes of a request's body, which nothing here reads."""

_PLAIN: Final = "text/plain; charset=utf-8"
_CHUNK: Final = 4096

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    text: str
    status: int = HTTPStatus.OK
    content_type: str = _PLAIN


@dataclass(frozen=True, slots=True)
class Health:
    """How the service is. ``text`` is for people: ``ok``, ``draining``."""

    well: bool = True
    text: str = "ok"


Page: TypeAlias = Callable[[], Answer | Awaitable[Answer]]
Metrics: TypeAlias = Callable[[], Iterable[Metric] | Awaitable[Iterable[Metric]]]
Act: TypeAlias = Callable[[], Awaitable[Answer]]


class Endpoint:
    """Answer /healthz, /metrics, the ``pages`` (GET) and the ``acts`` (POST), by their paths.

    Metrics and pages may be async functions. With a ``token``, every path but /healthz wants
    ``Authorization: Bearer TOKEN``; a load balancer has none, and what it learns is one word.
    ``names`` are the hosts by which the endpoint may be called besides addresses and
    ``localhost``.
    """

    def __init__(
        self,
        *,
        health: Callable[[], Health],
        metrics: Metrics,
        pages: Mapping[str, Page] | None = None,
        acts: Mapping[str, Act] | None = None,
        token: str | None = None,
        names: Iterable[str] = (),
    ) -> None:
        self._health = health
        self._pages: dict[str, Page] = {
            "/metrics": partial(_metrics_page, metrics),
            **(pages or {}),
        }
        self._acts = dict(acts or {})
        self._token = token
        self._names = {"localhost", *(name.lower() for name in names)}
        self._free = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled. Closes the listener; requests under way are dropped.

        Any number of listeners may be served at once: the limit holds for all together.
        """
        listener.setblocking(False)
        by_path = listener.family == socket.AF_UNIX
        async with (
            trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as incoming,
            trio.open_nursery() as nursery,
        ):
            while True:
                token = object()
                await self._free.acquire_on_behalf_of(token)
                try:
                    stream = await incoming.accept()
                except OSError as error:
                    self._free.release_on_behalf_of(token)
                    log.warning("the endpoint cannot accept: %s", error.strerror)
                    await trio.sleep(ACCEPT_PAUSE_S)
                    continue
                except BaseException:
                    self._free.release_on_behalf_of(token)
                    raise
                nursery.start_soon(self._attend, stream, token, by_path)

    async def _attend(self, stream: trio.SocketStream, token: object, by_path: bool) -> None:
        try:
            with trio.move_on_after(DEADLINE_S):
                async with stream:
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await self._converse(stream, by_path)
        finally:
            self._free.release_on_behalf_of(token)

    async def _converse(self, stream: trio.SocketStream, by_path: bool) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        bare = False
        try:
            request = await _read_request(http, stream)
            if request is None:
                return
            bare = request.method == b"HEAD"
            answer, allowed = await self._answer(request, by_path)
        except h11.RemoteProtocolError as error:
            if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return
            answer, allowed = _said(HTTPStatus(error.error_status_hint)), ""
        body = answer.text.encode()
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *([("Allow", allowed)] if allowed else []),
            *([("WWW-Authenticate", "Bearer")] if answer.status == HTTPStatus.UNAUTHORIZED else []),
        ]
        reason = HTTPStatus(answer.status).phrase
        await stream.send_all(
            (
                http.send(h11.Response(status_code=answer.status, headers=headers, reason=reason))
                or b""
            )
            + ((http.send(h11.Data(body)) or b"") if body and not bare else b"")
            + (http.send(h11.EndOfMessage()) or b"")
        )
        await _linger(stream)

    async def _answer(self, request: h11.Request, by_path: bool) -> tuple[Answer, str]:
        """The answer, and the methods allowed if that is what is wrong."""
        headers = dict(request.headers)
        path = request.target.partition(b"?")[0].decode("latin-1")
        method = request.method.decode("latin-1")
        if not by_path and not self._meant(headers.get(b"host", b"").decode("latin-1")):
            return _said(
                HTTPStatus.MISDIRECTED_REQUEST, "call this endpoint by its address, or localhost"
            ), ""
        reads = method in ("GET", "HEAD")
        if path == "/healthz" and reads:
            health = self._health()
            status = HTTPStatus.OK if health.well else HTTPStatus.SERVICE_UNAVAILABLE
            return Answer(f"{health.text}\n", status), ""
        if not self._authorised(headers.get(b"authorization", b"")):
            return _said(HTTPStatus.UNAUTHORIZED, "show the token: Authorization: Bearer ..."), ""
        try:
            if reads and path in self._pages:
                return await _waited_for(self._pages[path]()), ""
            if method == "POST" and path in self._acts:
                if _of_a_page(headers):
                    return _said(HTTPStatus.FORBIDDEN, "not for web pages"), ""
                return await self._acts[path](), ""
        except Exception:
            log.exception("%s %s failed", method, path)
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log"), ""
        if path in self._acts:
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "use POST"), "POST"
        if path in self._pages or path == "/healthz":
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "use GET"), "GET, HEAD"
        known = ", ".join(["/healthz", *self._pages, *(f"POST {act}" for act in self._acts)])
        return _said(HTTPStatus.NOT_FOUND, f"known are {known}"), ""

    def _meant(self, host: str) -> bool:
        """Whether a Host is an address, which no name server can make lead here, or our name."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.removeprefix("[").removesuffix("]").removesuffix(".").lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _authorised(self, shown: bytes) -> bool:
        if self._token is None:
            return True
        scheme, _, token = shown.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(
            token.strip(), self._token.encode()
        )


async def _metrics_page(metrics: Metrics) -> Answer:
    return Answer(render(await _waited_for(metrics())), content_type=CONTENT_TYPE)


async def _waited_for(found: _T | Awaitable[_T]) -> _T:
    return await found if isinstance(found, Awaitable) else found


def _of_a_page(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser sent this for a page: it says so, and no other client does."""
    return b"origin" in headers or headers.get(b"sec-fetch-site", b"none") != b"none"


def _said(status: HTTPStatus, what: str = "") -> Answer:
    return Answer(f"{status.phrase}: {what}\n" if what else f"{status.phrase}\n", status)


async def _read_request(http: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """A request whose body has come and been thrown away; None if nobody asked anything.

    Raises:
      h11.RemoteProtocolError: it is not HTTP, or too much of it.
    """
    request, body = None, 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                # RFC 9110, 10.1.1: who waits for it sends no body before.
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await stream.send_all(http.send(go_on) or b"")
            http.receive_data(await stream.receive_some(_CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += len(event.data)
            if body > MAX_BODY:
                raise h11.RemoteProtocolError(
                    "too much", error_status_hint=HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                )
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:  # the connection was closed before anything was asked
            return None


async def _linger(stream: trio.SocketStream) -> None:
    """Read what still comes before closing: a close with bytes unread takes the answer along."""
    await stream.send_eof()
    left = MAX_BODY
    while left > 0 and (data := await stream.receive_some(_CHUNK)):
        left -= len(data)
