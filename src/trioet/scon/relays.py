"""Connections that are passed from one machine's proxy to another's, which holds the session.

A connection cannot leave its machine, so the proxy to which the client came carries its
bytes as long as that connection lasts. The next one may meet the right proxy at once.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from trioet.errors import FrameError, PeerError
from trioet.link.accepting import ACCEPT_PAUSE_S, accept
from trioet.link.dial import dial
from trioet.link.line import Line, LineBroken, SocketLine
from trioet.wire.scon_relay import (
    ANSWER_SIZE,
    GREETING_SIZE,
    HEAD_SIZE,
    NONCE_SIZE,
    Caller,
    Holder,
)

log = logging.getLogger(__name__)

DEADLINE_S: Final = 5.0
"""From connecting to the other proxy to its proof; and there, from accept to the last byte
that was passed on."""

MAX_WAITING: Final = 256
"""Connections that have not proven that they come from a proxy; others wait in the queue."""

Deliver: TypeAlias = Callable[[socket.socket, bytes], Awaitable[None]]
"""Takes a connection that was passed to us, with what its client said before; owns it."""


class Relay:
    """A proxy elsewhere, as a :class:`trioet.scon.directory.Holder`."""

    def __init__(self, address: tuple[str, int], key: bytes) -> None:
        self._address = address
        self._key = key

    def __repr__(self) -> str:
        return f"<Relay to {self._address}>"

    async def take(self, sock: socket.socket, preface: bytes) -> None:
        """Pass the connection on, and carry its bytes until it ends.

        Raises:
          OSError: the other proxy is not there, or too slow.
          LineBroken: it went away.
          HandshakeError: it has another key.
        """
        client = SocketLine(sock)
        try:
            with trio.move_on_after(DEADLINE_S) as scope:
                holder = await dial(*self._address)
                try:
                    caller = Caller(self._key, os.urandom(NONCE_SIZE))
                    await _send(holder, caller.greeting())
                    answer, rest = await _read(holder, b"", ANSWER_SIZE)
                    await _send(holder, caller.pass_on(answer, preface))
                    await _send(client, rest)
                except BaseException:
                    holder.close()
                    raise
            if scope.cancelled_caught:
                raise TimeoutError(f"{self._address} did not answer within {DEADLINE_S:g} s")
            await carry(client, holder)
        finally:
            client.close()


async def carry(one: Line, other: Line) -> None:
    """Carry bytes both ways until both have ended, or either is gone. Closes both."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, one, other, nursery.cancel_scope)
            nursery.start_soon(_pump, other, one, nursery.cancel_scope)
    finally:
        one.close()
        other.close()


async def _pump(source: Line, target: Line, both: trio.CancelScope) -> None:
    try:
        while data := await source.receive():
            await _send(target, data)
        target.shutdown()
    except LineBroken:
        both.cancel()


async def _send(line: Line, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[line.try_send(left) :]
        if left:
            await line.wait_writable()


async def _read(line: Line, data: bytes, size: int) -> tuple[bytes, bytes]:
    """So many bytes, and what came besides. ``data`` came before.

    Raises:
      FrameError: the connection ended before.
      LineBroken: it is gone.
    """
    while len(data) < size:
        more = await line.receive()
        if not more:
            raise FrameError("the other proxy said too little")
        data += more
    return data[:size], data[size:]


class RelayDoor:
    """Where other proxies pass connections to this one."""

    def __init__(self, key: bytes, deliver: Deliver) -> None:
        self._key = key
        self._deliver = deliver
        self._free = trio.Semaphore(MAX_WAITING)

    async def serve(self, listener: socket.socket, accepting: trio.CancelScope) -> None:
        """Accept until cancelled; closes the listener. Cancelling only ``accepting`` closes the
        listener, and this returns when the connections that came are over.
        """
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            with listener, accepting:
                while True:
                    await self._free.acquire()
                    try:
                        sock, _ = await accept(listener)
                    except OSError as error:
                        self._free.release()
                        log.warning("cannot accept from other proxies: %s", error.strerror)
                        await trio.sleep(ACCEPT_PAUSE_S)
                    else:
                        nursery.start_soon(self._attend, sock)

    async def _attend(self, sock: socket.socket) -> None:
        try:
            try:
                said = await self._greet(sock)
            finally:
                self._free.release()
        except (PeerError, LineBroken, OSError, trio.TooSlowError) as error:
            log.warning("a connection to the port for proxies was refused: %s", error)
            sock.close()
        except trio.Cancelled:
            sock.close()
            raise
        else:
            await self._deliver(sock, said)

    async def _greet(self, sock: socket.socket) -> bytes:
        """All that the client said so far, as the other proxy tells it."""
        line = SocketLine(sock)
        with trio.fail_after(DEADLINE_S):
            holder = Holder(self._key, os.urandom(NONCE_SIZE))
            greeting, rest = await _read(line, b"", GREETING_SIZE)
            await _send(line, holder.answer(greeting))
            head, rest = await _read(line, rest, HEAD_SIZE)
            length = holder.expect(head)
            said, rest = await _read(line, rest, length)
        holder.judge(said)
        return said + rest
