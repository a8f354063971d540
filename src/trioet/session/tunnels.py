"""A tunnel's beginning: what listens, and what becomes of those who connect."""

from __future__ import annotations

import logging
import socket
from typing import Any, Final, TypeAlias

import trio

from trioet.session.channel import Channel, Traffic
from trioet.session.datagrams import MAX_DATAGRAM, Datagrams
from trioet.session.destinations import CannotReach, reset
from trioet.session.forwards import Forwards
from trioet.session.listeners import Bound, CannotListen, Listener, open_datagrams, open_listener
from trioet.wire.forward import Address, Endpoint
from trioet.wire.socks import SocksError, SocksServer

log = logging.getLogger(__name__)

SOCKS_DEADLINE_S: Final = 10.0
"""From connecting until an application has said where to."""

MAX_ASKED: Final = 64
"""Applications that say to one tunnel at once where to; others wait to be accepted."""

SOCKS_CHUNK: Final = 1024

MAX_FLOWS: Final = 256
"""Applications that a UDP tunnel talks to at once."""


_Source: TypeAlias = tuple[Any, ...]
"""An address, as the socket module has it."""

_Flow: TypeAlias = tuple[socket.socket, _Source]


async def bind(where: Endpoint, *, datagrams: bool) -> Bound:
    """Have the place, for a tunnel that is to run later. The caller closes it if none does.

    Raises:
      CannotListen: it cannot be had.
    """
    return await (open_datagrams if datagrams else open_listener)(where)


class Tunnel:
    """Something that listens on this side, and what has come through it."""

    def __init__(
        self,
        traffic: Traffic,
        forwards: Forwards,
        *,
        listen: int = 0,
        destination: Endpoint | None = None,
        dynamic: bool = False,
        datagrams: bool = False,
    ) -> None:
        """``traffic`` counts what comes through, and has the name. ``listen`` is the number
        of the client's Listen that the tunnel is for, 0 for its own. Where it leads:
        ``destination``, or what the application says by SOCKS (``dynamic``), or what the
        client knows of its Listen."""
        self.port = 0
        """Where it listens; 0 for a path."""
        self.traffic = traffic
        self._name = traffic.tunnel
        self._forwards = forwards
        self._listen = listen
        self._destination = destination
        self._dynamic = dynamic
        self._datagrams = datagrams
        self._scope = trio.CancelScope()
        self._flows: dict[_Flow, Datagrams] = {}
        self._asked = trio.Semaphore(MAX_ASKED)

    def __repr__(self) -> str:
        return f"<Tunnel {self._name} port={self.port}>"

    def close(self) -> None:
        """Listen no longer. The connections that there are stay, those of UDP are over."""
        self._scope.cancel()

    async def run(
        self,
        where: Endpoint | Bound,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until :meth:`close`, at a place or with what :func:`bind` returned.

        Raises:
          CannotListen: the place cannot be had, or :meth:`close` came first. ``task_status``
              tells when it could.
        """
        listened = False
        with self._scope:
            try:
                if not isinstance(where, Bound):
                    where = await bind(where, datagrams=self._datagrams)
                with where as bound:
                    self.port, listened = bound.port, True
                    task_status.started()
                    if isinstance(bound, Listener):
                        await self._accept(bound)
                    else:
                        await self._hear(bound)
            except OSError as error:
                log.error("%s: listens no longer: %s", self._name, error)
        if not listened:
            raise CannotListen(f"{self._name}: was closed before it listened")

    # Streams

    async def _accept(self, listener: Listener) -> None:
        while True:
            await self._forwards.wait_not_full()
            if self._dynamic:
                async with self._asked:  # wait until another may be asked
                    pass
            self._forwards.start(self._carry, await listener.accept())

    async def _carry(self, sock: socket.socket) -> None:
        channel = Channel(self._forwards.new_number(), sock, self._forwards, self.traffic)
        try:
            if self._dynamic:
                await self._open_by_socks(channel, sock)
                await self._forwards.run(channel)
            else:
                await self._forwards.open_and_run(channel, self._listen, self._destination)
        except (CannotReach, SocksError, trio.BrokenResourceError) as error:
            log.info("%s: %s", self._name, error)
            reset(sock)
        except BaseException:
            reset(sock)
            raise

    async def _open_by_socks(self, channel: Channel, sock: socket.socket) -> None:
        """Ask the application where to, and answer it.

        Raises:
          SocksError, BrokenResourceError: it does not say.
          CannotReach: it has been told why.
        """
        socks = SocksServer()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock.dup())) as stream:
            failure: SocksError | CannotReach | None = None
            words = b""
            try:
                async with self._asked:
                    destination = await _ask(stream, socks)
                await self._forwards.open(channel, self._listen, destination)
            except SocksError as error:
                failure, words = error, error.reply
            except CannotReach as error:
                failure, words = error, socks.take_reply() + socks.fail(error.failure)
            if failure is not None:
                await _last_words(stream, words)
                raise failure
            try:
                await stream.send_all(socks.take_reply() + socks.succeed())
            except trio.BrokenResourceError:
                channel.abort()  # the destination is connected, and the application gone
        channel.begin_with(socks.rest())

    # Datagrams

    async def _hear(self, bound: Bound) -> None:
        try:
            async with trio.open_nursery() as listening:
                for sock in bound.sockets:
                    listening.start_soon(self._hear_one, sock)
        finally:
            for flow in self._flows.values():
                flow.close()  # what is answered goes out from these sockets

    async def _hear_one(self, sock: socket.socket) -> None:
        turn = trio.Lock()
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                data, source = sock.recvfrom(MAX_DATAGRAM)
            except OSError:
                continue  # an answer to what was sent: nobody is there any more
            key = (sock, source)
            flow = self._flows.get(key)
            if flow is None:
                if len(self._flows) >= MAX_FLOWS or self._forwards.full:
                    continue
                flow = self._new_flow(sock, source, turn)
                self._flows[key] = flow
                self._forwards.start(self._carry_flow, key, flow)
            flow.send(data)

    def _new_flow(self, sock: socket.socket, source: _Source, turn: trio.Lock) -> Datagrams:
        async def deliver(data: bytes) -> None:
            async with turn:  # only one task may wait for a socket
                while True:
                    try:
                        sock.sendto(data, source)
                        return
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(sock)

        number = self._forwards.new_number()
        return Datagrams(number, self._forwards, deliver, self.traffic)

    async def _carry_flow(self, key: _Flow, flow: Datagrams) -> None:
        try:
            await self._forwards.open(flow, self._listen, self._destination)
            await self._forwards.run(flow)
        except CannotReach as error:
            log.info("%s: %s", self._name, error)
        finally:
            del self._flows[key]


async def _ask(stream: trio.SocketStream, socks: SocksServer) -> Address:
    with trio.move_on_after(SOCKS_DEADLINE_S):
        while data := await stream.receive_some(SOCKS_CHUNK):
            destination = socks.feed(data)
            if destination is not None:
                return destination
            await stream.send_all(socks.take_reply())
    raise SocksError("SOCKS: the application does not say where to")


async def _last_words(stream: trio.SocketStream, words: bytes) -> None:
    """Say something before the connection is closed, so that it is heard."""
    with trio.move_on_after(SOCKS_DEADLINE_S):
        await stream.send_all(words)
        await stream.send_eof()
        while await stream.receive_some(SOCKS_CHUNK):
            pass
