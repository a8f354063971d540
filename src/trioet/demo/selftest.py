"""The demo without people: data both ways through 20 cuts, compared byte by byte."""

from __future__ import annotations

import hashlib
import os
import random

import trio

from trioet.client.app import Client
from trioet.client.console import open_console
from trioet.client.wish import Wish
from trioet.demo.stage import Stage, open_stage
from trioet.link.dial import dial
from trioet.wire.messages import Exec

CUTS = 20
CUT_EVERY_S = 0.2
CHUNK = 32 * 1024
MIN_BYTES = 4 * 1024 * 1024
DEADLINE_S = 120.0
SEED = 20


async def selftest() -> int:
    """Send random bytes through a remote `cat`, cut, compare; 0 if nothing is amiss."""
    begun = trio.current_time()
    async with open_stage() as stage:
        test = _Test(stage)
        with trio.move_on_after(DEADLINE_S) as patience:
            await test.run()
    if patience.cancelled_caught:
        print(f"trioet demo: FAILED, not finished after {DEADLINE_S:g} s")
        return 1
    print(test.report(trio.current_time() - begun))
    return 0 if test.passed else 1


class _Test:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sent = hashlib.sha256()
        self._got = hashlib.sha256()
        self._bytes_sent = 0
        self._bytes_got = 0
        self._status: int | None = None
        self._replayed = 0

    @property
    def passed(self) -> bool:
        return self._sent.digest() == self._got.digest() and self._status == 0

    def report(self, seconds: float) -> str:
        verdict = "every byte arrived once and in order" if self.passed else "FAILED"
        return (
            f"trioet demo: {verdict}\n"
            f"  cuts survived    {self._stage.cutter.cuts}\n"
            f"  bytes sent       {self._bytes_sent}\n"
            f"  bytes back       {self._bytes_got}\n"
            f"  bytes replayed   {self._replayed} to the client\n"
            f"  exit status      {self._status}\n"
            f"  seconds          {seconds:.1f}"
        )

    async def run(self) -> None:
        invitation = await self._stage.invite()
        keys_out, keys_in = os.pipe()
        screen_out, screen_in = os.pipe()
        with open_console(keys_out, screen_in, raw=False) as console:
            wish = Wish(
                client_id=invitation.client_id.encode(),
                passkey=invitation.passkey.encode(),
                host="this machine",
                dial=lambda: dial("127.0.0.1", self._stage.port),
                environment={},
                exec=Exec(b"cat", pty=False),
            )
            client = Client(wish, console, lambda data: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, trio.lowlevel.FdStream(keys_in))
                nursery.start_soon(self._receive, trio.lowlevel.FdStream(screen_out))
                nursery.start_soon(self._stage.cutter.cut_every, CUT_EVERY_S)
                self._status = await client.run()
                self._replayed = client.link.bytes_replayed
                os.close(screen_in)
                os.close(keys_out)
                with trio.move_on_after(1):
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()

    async def _send(self, stream: trio.lowlevel.FdStream) -> None:
        source = random.Random(SEED)
        async with stream:
            while self._stage.cutter.cuts < CUTS or self._bytes_sent < MIN_BYTES:
                data = source.randbytes(CHUNK)
                self._sent.update(data)
                self._bytes_sent += len(data)
                await stream.send_all(data)

    async def _receive(self, stream: trio.lowlevel.FdStream) -> None:
        async with stream:
            async for data in stream:
                self._got.update(data)
                self._bytes_got += len(data)
