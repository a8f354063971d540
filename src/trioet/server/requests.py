"""The socket at which a keeper is asked for sessions and relays, and how it is.

By processes of its own user: `trioet terminal`, and `trioet check`. A request is all that comes
until the end, the answer all that goes back. Whoever is slow makes way for others.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final, TypeAlias

import trio

from trioet.errors import MessageError, StepFailed, TrioetError
from trioet.server.guest_request import BEGINS as GUEST_REQUEST
from trioet.server.guest_request import GuestRequest, parse_guest_request
from trioet.server.local import Credentials, peer_credentials
from trioet.server.request import REFUSED, STATUS, OpenRequest, RelayRequest, parse_request
from trioet.server.share_request import AnyShareRequest, is_share_request, parse_share_request

log = logging.getLogger(__name__)

Request: TypeAlias = OpenRequest | RelayRequest | GuestRequest | AnyShareRequest | None
"""None asks for the keeper's status."""

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of one request of `trioet terminal`; its environment is in it."""

REQUEST_DEADLINE_S: Final = 5.0

MAX_REQUESTS: Final = 16
"""Connections at once that have not said all of their request: a further one takes the place
of the oldest, for who is honest says it at once."""


class Requests:
    """Reads requests, has them answered, and tells what went wrong."""

    def __init__(
        self,
        answer: Callable[[Request, int], Awaitable[bytes]],
        keep: Callable[[Request, trio.socket.SocketType], bool],
    ) -> None:
        """``answer`` gets the pid of who asks as well, and may raise what that is to be told.
        ``keep`` may own the connection after that, and returns whether it does."""
        self._answer = answer
        self._keep = keep
        self._reading: deque[trio.CancelScope] = deque()

    async def serve(self, listener: trio.socket.SocketType) -> None:
        """Serve until cancelled; who was not answered by then is hung up on."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    connection, _ = await listener.accept()
                except OSError as error:
                    log.error("cannot accept requests: %s", error.strerror)
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(guarded, self._serve_request, connection)

    async def _serve_request(self, connection: trio.socket.SocketType) -> None:
        async with AsyncExitStack() as closing:
            stream = await closing.enter_async_context(trio.SocketStream(connection))
            request: Request = None
            try:
                asking = _peer(connection)
                if asking.uid != os.geteuid():
                    return
                with trio.fail_after(REQUEST_DEADLINE_S):
                    request = await self._read_request(stream)
                    answer = await self._answer(request, asking.pid)
            except TrioetError as error:
                answer = REFUSED + json_line(_error_fields(error))
            except (trio.TooSlowError, trio.BrokenResourceError):
                return  # too slow, or somebody else's turn, or gone
            with trio.move_on_after(REQUEST_DEADLINE_S):
                try:
                    await stream.send_all(answer)
                except trio.BrokenResourceError:
                    log.info("a terminal went away before its answer")
            if self._keep(request, connection):
                closing.pop_all()

    async def _read_request(self, stream: trio.SocketStream) -> Request:
        """Read it; None asks for the keeper's status."""
        if len(self._reading) >= MAX_REQUESTS:
            self._reading.popleft().cancel()
        with trio.CancelScope() as scope:
            self._reading.append(scope)
            try:
                data = await _read_all(stream)
                if data.startswith(GUEST_REQUEST):
                    return parse_guest_request(data)
                if is_share_request(data):
                    return parse_share_request(data)
                return None if data == STATUS else parse_request(data)
            finally:
                with suppress(ValueError):  # not there: another has taken the place
                    self._reading.remove(scope)
        raise trio.TooSlowError


async def guarded(serve: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run a task of the keeper; a fault of ours in it must not end what goes on beside it."""
    try:
        await serve(*arguments)
    except Exception:
        log.exception("a fault in trioet; please report it")


async def _read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    async for chunk in stream:
        data += chunk
        if len(data) > MAX_REQUEST:
            raise MessageError(f"a request of more than {MAX_REQUEST} bytes")
    return data


def _peer(connection: trio.socket.SocketType) -> Credentials:
    duplicate = socket.socket(fileno=os.dup(connection.fileno()))
    with duplicate:
        return peer_credentials(duplicate)


def json_line(fields: Mapping[str, object]) -> bytes:
    """The details of an answer."""
    return json.dumps(fields).encode() + b"\n"


def _error_fields(error: TrioetError) -> dict[str, str]:
    if isinstance(error, StepFailed):
        return {"step": error.step, "what": error.what, "hint": error.hint}
    return {"step": "keeper", "what": str(error), "hint": ""}
