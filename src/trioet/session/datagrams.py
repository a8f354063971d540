"""A channel of datagrams: what one UDP socket hears from one other.

Few datagrams are kept: what comes faster than it can be sent is lost, as on any network. A
channel that carries nothing for a while is over; nobody else tells that it is.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.session.channel import Carrier, Traffic
from trioet.wire.channels import ChannelData, ChannelEnd

IDLE_S: Final = 120.0
"""A channel without a datagram for this long is over (RFC 4787, 4.3: at least two minutes)."""

MAX_DATAGRAM: Final = 65535
MAX_WAITING: Final = 64
"""Datagrams of a channel that wait, each way; more are lost."""

MAX_WAITING_BYTES: Final = 256 * 1024
"""The same in bytes."""


class _Queue:
    """What waits, in order. What finds no place is lost."""

    def __init__(self) -> None:
        self._bytes = 0
        self._entrance, self._exit = trio.open_memory_channel[bytes](MAX_WAITING)

    def put(self, data: bytes) -> None:
        if self._bytes + len(data) <= MAX_WAITING_BYTES:
            with suppress(trio.WouldBlock):
                self._entrance.send_nowait(data)
                self._bytes += len(data)

    async def get(self) -> bytes:
        data = await self._exit.receive()
        self._bytes -= len(data)
        return data


class Datagrams:
    """The channel with that number; ``deliver`` hands one datagram to this side's network."""

    def __init__(
        self,
        number: int,
        carrier: Carrier,
        deliver: Callable[[bytes], Awaitable[object]],
        traffic: Traffic,
    ) -> None:
        self.number = number
        self._carrier = carrier
        self._deliver = deliver
        self._traffic = traffic
        self._sock: socket.socket | None = None
        self._scope = trio.CancelScope()
        self._told = False
        self._to_deliver, self._to_say = _Queue(), _Queue()

    @classmethod
    def connected(
        cls, number: int, carrier: Carrier, sock: socket.socket, traffic: Traffic
    ) -> Datagrams:
        """A channel for a connected UDP socket, which it owns."""

        async def deliver(data: bytes) -> None:
            await trio.lowlevel.wait_writable(sock)
            sock.send(data)

        datagrams = cls(number, carrier, deliver, traffic)
        datagrams._sock = sock
        return datagrams

    def __repr__(self) -> str:
        return f"<Datagrams {self.number}>"

    def send(self, data: bytes) -> None:
        """Tell the peer of a datagram, soon or never."""
        self._busy()
        self._to_say.put(data)

    def close(self) -> None:
        """End it, and tell the peer."""
        self._scope.cancel()

    # What the peer says

    def arrived(self, data: bytes | memoryview) -> None:
        self._busy()
        self._traffic.received += len(data)
        self._to_deliver.put(bytes(data))

    def credited(self, amount: int) -> None:
        """Datagrams need none."""

    def ended(self) -> None:
        self._told = True
        self._scope.cancel()

    was_reset = ended

    # Its life

    async def run(self) -> None:
        """Carry datagrams both ways until there are none. Closes the socket."""
        self._traffic.channels += 1
        try:
            with self._scope:
                self._busy()
                async with trio.open_nursery() as nursery:
                    if self._sock is not None:
                        nursery.start_soon(self._hear, self._sock)
                    nursery.start_soon(self._say)
                    while True:
                        with suppress(OSError):  # the network lost it
                            await self._deliver(await self._to_deliver.get())
        finally:
            self._traffic.channels -= 1
            if self._sock is not None:
                self._sock.close()
        if not self._told:
            self._carrier.say(ChannelEnd(self.number))

    async def _say(self) -> None:
        while True:
            data = await self._to_say.get()
            async with self._carrier.turn:
                await self._carrier.wait_room()
                self._traffic.sent += len(data)
                self._carrier.say_bulk(ChannelData(self.number, data))

    async def _hear(self, sock: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            with suppress(OSError):  # the answer to what was sent before: nobody is there
                self.send(sock.recv(MAX_DATAGRAM))

    def _busy(self) -> None:
        self._scope.deadline = trio.current_time() + IDLE_S
