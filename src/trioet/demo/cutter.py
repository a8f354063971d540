"""A network that fails: a relay that resets its connections when told to."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import trio

CHUNK = 64 * 1024


class Cutter:
    """Relay connections to one port of this machine, and cut them."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.refuse = False
        """True: new connections are reset, too."""
        self.attempts = 0
        """Connections, those that were refused among them."""
        self.bytes_relayed = 0
        self._port = port
        self._open: set[trio.SocketStream] = set()
        self._relayed = trio.lowlevel.ParkingLot()

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a free port of 127.0.0.1 until cancelled; ``started`` gives it."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._relay, [listener])

    async def cut_every(self, seconds: float) -> None:
        """Cut all connections again and again, until cancelled."""
        while True:
            await trio.sleep(seconds)
            self.cut()

    async def wait_relayed(self, amount: int) -> None:
        """Wait until so many bytes more went through, both ways together."""
        enough = self.bytes_relayed + amount
        while self.bytes_relayed < enough:
            await self._relayed.park()

    def cut(self) -> None:
        """Reset every connection, both ends: what is under way is lost."""
        if not self._open:
            return
        self.cuts += 1
        for stream in self._open:
            with suppress(OSError):  # of one that is just being closed
                # Lingering for zero seconds makes the close a reset (socket(7)).
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        self._open.clear()

    async def _relay(self, near: trio.SocketStream) -> None:
        self.attempts += 1
        if self.refuse:
            return
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self._port)
        except OSError:
            return
        self._open |= {near, far}
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
            nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        self._open -= {near, far}

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
                self.bytes_relayed += len(data)
                self._relayed.unpark_all()
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            both.cancel()
