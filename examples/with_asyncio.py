"""An eternal stream without Trio: trioet.wire and asyncio (docs/library.md).

with_asyncio.py HOST PORT: send stdin to an echoing server, all at once, print what comes back.
The pre-shared key is in the environment, TRIOET_PSK.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys

from trioet.errors import PeerError
from trioet.wire.embedding import EternalClient


class Stream:
    """Reads and writes while a task of its own keeps it connected."""

    def __init__(self, host: str, port: int, psk: bytes) -> None:
        self._place, self._psk = (host, port), psk
        self._client = EternalClient(psk, secrets.token_hex(8).encode())
        self._changed = asyncio.Condition()
        self._inbox = bytearray()
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Keep it connected until both sides have ended; SessionLost if the server refuses."""
        while not self._client.over:
            try:
                await self._use_connection()
            except (OSError, PeerError):
                await asyncio.sleep(0.05)

    async def _use_connection(self) -> None:
        reader, writer = await asyncio.open_connection(*self._place)
        try:
            if not self._client.introduced:
                self._client = EternalClient(self._psk, secrets.token_hex(8).encode())
            self._client.connected()
            self._writer = writer
            self._flush()
            while not self._client.over:
                data = await reader.read(65536)
                if not data:
                    raise ConnectionError("the connection is gone")
                self._inbox += self._client.receive_data(data)
                self._flush()
                async with self._changed:
                    self._changed.notify_all()
        finally:
            self._writer = None
            writer.close()

    async def send(self, data: bytes) -> None:
        """Return when all was sent, or is kept for the next connection."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._client.introduced)
            while data:
                await self._changed.wait_for(lambda: self._client.may_send)
                data = data[self._client.send(data) :]
                self._flush()

    def close(self) -> None:
        """Nothing more will be sent or read."""
        self._client.close()
        self._flush()

    async def receive(self) -> bytes:
        """Return some bytes, b"" at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._inbox or self._client.ended)
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.write(self._client.data_to_send())


async def main() -> None:
    stream = Stream(sys.argv[1], int(sys.argv[2]), os.environb[b"TRIOET_PSK"])
    keeping = asyncio.create_task(stream.run())
    given = sys.stdin.buffer.read()
    sending = asyncio.create_task(stream.send(given))
    got = 0
    while got < len(given):
        data = await stream.receive()
        got += sys.stdout.buffer.write(data)
    await sending
    stream.close()
    await keeping


if __name__ == "__main__":
    asyncio.run(main())
