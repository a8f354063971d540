"""open_eternal_stream: the client's end."""

from __future__ import annotations

import math
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import trio

from trioet.errors import LocalError, PeerError, SessionLost, StepFailed, TrioetError
from trioet.eternal.flow import Flow
from trioet.eternal.introducing import Introduced, introduce, introduce_in_tls
from trioet.eternal.stream import EternalStream
from trioet.link.dial import dial as dial_tcp
from trioet.link.line import Line, LineBroken
from trioet.link.liveness import Liveness
from trioet.link.reconnect import (
    CannotConnect,
    Reconnector,
    explain,
    patience_at_first,
    timed_out,
)
from trioet.link.resumable import Refused, Role
from trioet.link.rhythm import LONGEST_S, Rhythm
from trioet.wire.agreement import PreSharedKey
from trioet.wire.introduction import words_of
from trioet.wire.sealing import KEY_SIZE

CLOSE_TIMEOUT_S: Final = 30.0
KEEPALIVE_S: Final = 5.0
"""Silence in use after which the server is asked for a sign of life."""

CLIENT_ID_SIZE: Final = 16

ATTEMPT_S: Final = 10.0
"""For one connection and its introduction."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
"""Between two introductions, until one is answered or patience ends."""

DENIED_S: Final = 60.0
"""A server that does not know the session was restarted, for it says the end of one under its
key. But the answer has no seal, and anyone on the way can give it: so it is believed after so
many seconds without any other."""

_How = TypeVar("_How")

REFUSED_HINT: Final = "both ends need the same kind of key, and the same key"
STRANGER_HINT: Final = "is that a trioet.serve_eternal, and has it the same key?"
TLS_HINT: Final = "look at the certificates of both ends, and at what their contexts trust"
CONNECT_HINT: Final = "is the server running, and does a firewall let its port through?"


@asynccontextmanager
async def open_eternal_stream(
    host: str,
    port: int,
    *,
    psk: bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    client_id: bytes | None = None,
    passkey: bytes | None = None,
    dial: Callable[[], Awaitable[Line]] | None = None,
    keepalive: float = KEEPALIVE_S,
    give_up_after: float = math.inf,
    close_timeout: float = CLOSE_TIMEOUT_S,
) -> AsyncIterator[EternalStream]:
    """Open a stream to a :func:`trioet.serve_eternal`, for as long as the block lasts.

    Exactly one of these says how both ends get the key of the session:

    * ``psk``: a secret of 16 random bytes or more that both know. Each session has a key of its
      own, which nobody can find out later, not even with the secret.
    * ``ssl_context``: the first connection is TLS, which tells the ends who they are, and the
      session's key is agreed on within; all that follows is sealed by that key.
      ``server_hostname`` is checked against the certificate; it is ``host`` by default.
    * ``client_id`` and ``passkey``, of 16 and 32 bytes, which the server was given by other means.
      Never use a passkey for two sessions: that lets others read both.

    ``dial`` makes a connection, instead of TCP to ``host`` and ``port``; it may be called at any
    time, and several calls may overlap. ``keepalive``: seconds of silence, while the stream is
    in use, after which the server is asked whether it is there. ``give_up_after``: seconds
    without a connection after which the session is lost. ``close_timeout``: see
    :meth:`EternalStream.aclose`.

    At the end of the block the stream is closed, which delivers. If the block raises, or is
    cancelled, it is aborted: nothing waits, and the server's side is told if there is a
    connection.

    Raises:
      StepFailed: no session could be had; says why, and what to do.
      ValueError: not exactly one kind of key, or one of the wrong length.
    """
    dial = dial or partial(dial_tcp, host, port)
    line: Line | None = None
    match _kind_of_key(psk, ssl_context, passkey, client_id):
        case PreSharedKey() as key:
            introduced, line = await _enter(_with_psk, dial, key, host, port)
        case ssl.SSLContext() as context:
            name = server_hostname or host
            introduced, line = await _enter(_with_tls, dial, (context, name), host, port)
        case Introduced() as introduced:
            pass
    flow = Flow(introduced.passkey, Role.CLIENT)
    stream = EternalStream(flow, introduced.client_id, close_timeout, introduced.peer_certificate)
    first = _FirstLine(line, dial)
    reconnector = Reconnector(flow.link, introduced.client_id, first.dial)
    reconnector.denied_s = DENIED_S
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep, flow, reconnector, keepalive, give_up_after)
        try:
            if line is None:
                await _wait_connected(flow, host, port)
            yield stream
            await stream.aclose()
        except BaseException as error:
            failure = error
            stream.abort()
        flow.end()
    first.close()
    flow.link.close()
    if failure is not None:
        raise failure


def _kind_of_key(
    psk: bytes | None,
    ssl_context: ssl.SSLContext | None,
    passkey: bytes | None,
    client_id: bytes | None,
) -> PreSharedKey | ssl.SSLContext | Introduced:
    if sum(each is not None for each in (psk, ssl_context, passkey)) != 1:
        raise ValueError("give exactly one of psk, ssl_context, and passkey with client_id")
    if psk is not None:
        return shared_key(psk)
    if ssl_context is not None:
        return ssl_context
    if len(passkey or b"") != KEY_SIZE or len(client_id or b"") != CLIENT_ID_SIZE:
        raise ValueError(
            f"a passkey has {KEY_SIZE} bytes, and the client_id that goes with it {CLIENT_ID_SIZE}"
        )
    return Introduced(client_id or b"", passkey or b"")


def shared_key(psk: bytes) -> PreSharedKey:
    """
    Raises:
      ValueError: it is too short, or empty.
    """
    if not psk:
        raise ValueError("the pre-shared key is empty")
    return PreSharedKey(psk)


async def _with_psk(line: Line, key: PreSharedKey) -> tuple[Introduced, Line | None]:
    return await introduce(line, _new_id(), key), line


async def _with_tls(line: Line, how: tuple[ssl.SSLContext, str]) -> tuple[Introduced, Line | None]:
    try:
        return await introduce_in_tls(line, _new_id(), *how), None
    finally:
        line.close()


def _new_id() -> bytes:
    return secrets.token_urlsafe(CLIENT_ID_SIZE * 3 // 4).encode()


async def _enter(
    introduce_on: Callable[[Line, _How], Awaitable[tuple[Introduced, Line | None]]],
    dial: Callable[[], Awaitable[Line]],
    how: _How,
    host: str,
    port: int,
) -> tuple[Introduced, Line | None]:
    """Connect and introduce, again and again as long as that may help."""
    begun, pause = trio.current_time(), FIRST_PAUSE_S
    while True:
        line: Line | None = None
        try:
            with trio.fail_after(ATTEMPT_S):
                line = await dial()
                return await introduce_on(line, how)
        except BaseException as error:
            if line is not None:
                line.close()
            patience, failed = _judge(error, host, port)
            if trio.current_time() - begun >= patience:
                raise failed from error
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _judge(error: BaseException, host: str, port: int) -> tuple[float, StepFailed]:
    """For how many seconds to try again after this, and what to tell then.

    Raises:
      BaseException: the error itself, if it is none of the connection's.
    """
    where = f"{host} port {port}"
    match error:
        case Refused():
            return 0.0, StepFailed("introduction", f"{where}: {error}", REFUSED_HINT)
        case PeerError():
            return 0.0, StepFailed("introduction", f"{where}: {error}", STRANGER_HINT)
        case trio.BrokenResourceError(__cause__=ssl.SSLError() as cause):
            return 0.0, StepFailed("tls", f"{where}: {_tls_words(cause)}", TLS_HINT)
        case trio.BrokenResourceError():
            broken = LineBroken(str(error))
            return patience_at_first(broken), _cannot_connect(where, broken)
        case trio.TooSlowError():
            return patience_at_first(timed_out()), _cannot_connect(where, timed_out())
        case OSError() | LineBroken() | TrioetError():
            return patience_at_first(error), _cannot_connect(where, error)
        case _:
            raise error


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "the server ended TLS without a word: it misses a certificate, or knows no TLS"
    return getattr(error, "verify_message", "") or error.reason or str(error)


def _cannot_connect(where: str, error: Exception) -> StepFailed:
    return StepFailed("connect", f"cannot connect to {where}: {explain(error)}", CONNECT_HINT)


class _FirstLine:
    """The line of the introduction, which the first dial gives; the others connect."""

    def __init__(self, line: Line | None, dial: Callable[[], Awaitable[Line]]) -> None:
        self._line = line
        self._dial = dial

    async def dial(self) -> Line:
        if (line := self._line) is None:
            return await self._dial()
        self._line = None
        return line

    def close(self) -> None:
        """Nobody has taken it."""
        if self._line is not None:
            self._line.close()


async def _wait_connected(flow: Flow, host: str, port: int) -> None:
    """Return when the server has proven to be there.

    Raises:
      StepFailed: it will not.
    """
    await flow.wait_connected()
    if flow.failure is not None:
        raise StepFailed("connect", f"{host} port {port}: {flow.failure}", CONNECT_HINT)


async def _keep(
    flow: Flow,
    reconnector: Reconnector,
    keepalive: float,
    give_up_after: float,
) -> None:
    """Run the link until its flow is over, whatever becomes of who uses it."""
    liveness = Liveness(flow.link, Rhythm(keepalive, LONGEST_S), reconnector.suspect)

    def line_changed() -> None:
        reconnector.line_changed()
        liveness.line_changed()

    def sent() -> None:
        reconnector.typed()
        liveness.sent()

    def both_closed() -> None:
        reconnector.denied_s = 0.0  # the server may forget the session now

    flow.on_line_change, flow.on_sent = line_changed, sent
    flow.on_both_closed = both_closed
    flow.reason_away = lambda: reconnector.reason
    flow.link.send_keepalive()  # proves us to the server, whose handler waits for that
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_reconnect, flow, reconnector)
            nursery.start_soon(liveness.run)
            nursery.start_soon(flow.run)
            nursery.start_soon(_give_up, flow, give_up_after)
            await flow.over.wait()
            nursery.cancel_scope.cancel()


async def _reconnect(flow: Flow, reconnector: Reconnector) -> None:
    failure: BaseException | None = None
    try:
        await reconnector.run()
    except* (CannotConnect, Refused, LocalError) as group:
        failure = group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    assert isinstance(failure, TrioetError), "it never returns"
    if flow.closed_there is not None:
        flow.end()  # both have said their last words: the server may forget
    else:
        flow.fail(SessionLost(words_of(str(failure).encode())))


async def _give_up(flow: Flow, after: float) -> None:
    await flow.wait_away(after)
    flow.fail(SessionLost(f"no connection for {after:g} s: {flow.state.reason}"))
