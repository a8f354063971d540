"""One real client with traffic both ways through it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from proof.stage import Stage
from proof.traffic import READY, TO_CLIENT, TO_SERVER, Comparison, Pace, Stream

START_S: Final = 300.0


class Session:
    """A `trioet connect` whose far end is `proof.traffic`."""

    def __init__(self, stage: Stage, seed: int, size: int, rate: float = 0.0) -> None:
        self.seed = seed
        self.size = size
        self.process: trio.Process | None = None
        self.comparison = Comparison(Stream(seed, TO_CLIENT, size))
        self.outcome = ""
        """What went wrong; empty if nothing did."""
        self.errors = b""
        self.ready = trio.Event()
        """Set when the far program has begun, or never will."""
        self._stage = stage
        self._rate = rate
        self._rest = b""

    @property
    def moved(self) -> int:
        """Bytes that the client has delivered to us."""
        return self.comparison.verdict.received

    def command(self) -> list[str]:
        """The far program."""
        numbers = (str(self.seed), str(self.size), str(self._rate))
        return [sys.executable, "-P", "-m", "proof.traffic", *numbers]

    async def run(self, argv: Sequence[str], gate: trio.Event | None = None) -> None:
        """Run it to its end, no byte before ``gate``; then :attr:`outcome` tells how it went."""
        self.process = await trio.lowlevel.open_process(
            argv,
            env=self._stage.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        stdout, stderr = self.process.stdout, self.process.stderr
        assert stdout is not None
        assert stderr is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._collect, stderr)
                await self._converse(stdout, gate)
                nursery.cancel_scope.cancel()
        finally:
            self.ready.set()
            with suppress(ProcessLookupError):
                self.process.kill()
            with trio.CancelScope(shield=True):
                await self.process.wait()

    async def _converse(self, stdout: trio.abc.ReceiveStream, gate: trio.Event | None) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with trio.move_on_after(START_S) as patience:
            while READY not in self._rest:
                data = await stdout.receive_some(65536)
                if not data:
                    self.outcome = f"the session did not start: {self.errors.decode()}"
                    return
                self._rest += data
        if patience.cancelled_caught:
            self.outcome = "the session did not start"
            return
        self.ready.set()
        if gate is not None:
            await gate.wait()
        self._rest = self._rest.partition(READY)[2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, self.process.stdin)
            try:
                await self._receive(stdout)
                self._judge(await self._line(stdout))
            except EOFError:
                self.outcome = f"the client ended early: {self.errors.decode()}"
            nursery.cancel_scope.cancel()

    async def _receive(self, stdout: trio.abc.ReceiveStream) -> None:
        while self.comparison.missing > 0:
            data = self._rest or await _some(stdout)
            self._rest = data[self.comparison.missing :]
            self.comparison.feed(data[: self.comparison.missing])

    async def _line(self, stdout: trio.abc.ReceiveStream) -> bytes:
        while b"\n" not in self._rest:
            self._rest += await _some(stdout)
        return self._rest

    def _judge(self, line: bytes) -> None:
        there = json.loads(line)
        sent = hashlib.sha256()
        stream = Stream(self.seed, TO_SERVER, self.size)
        while data := stream.take():
            sent.update(data)
        mine = self.comparison.verdict
        if mine.first_difference is not None:
            self.outcome = f"byte {mine.first_difference} to the client is wrong"
        elif there["first_difference"] is not None:
            self.outcome = f"byte {there['first_difference']} to the server is wrong"
        elif (there["received"], there["sha256"]) != (self.size, sent.hexdigest()):
            self.outcome = f"the server has {there['received']} bytes of {self.size}"

    async def _send(self, stdin: trio.abc.SendStream) -> None:
        stream, pace = Stream(self.seed, TO_SERVER, self.size), Pace(self._rate)
        with suppress(trio.BrokenResourceError):
            while data := stream.take():
                await trio.sleep(pace.delay(len(data)))
                await stdin.send_all(data)

    async def _collect(self, stderr: trio.abc.ReceiveStream) -> None:
        async for data in stderr:
            self.errors = (self.errors + data)[-2000:]


async def _some(stream: trio.abc.ReceiveStream) -> bytes:
    """Return some bytes.

    Raises:
      EOFError: there are no more.
    """
    data = await stream.receive_some(65536)
    if not data:
        raise EOFError
    return bytes(data)
