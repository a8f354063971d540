"""Tunnels through a network that fails, and beside an application that does not read.

`python -m proof.tunnels --help`. Eight streams, four through -L and four through -R, data
both ways in each; the ssh agent is asked all the time through -A. Then, without faults,
one more application stops reading for a while: what became of the others, and of it?
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Final

import trio

from proof.faults import FaultyNetwork
from proof.stage import HOST, TRIOET, Stage, be_ended_by_sigterm, open_stage
from proof.traffic import TO_CLIENT, TO_SERVER, Comparison, Stream

MIB: Final = 1024 * 1024
TUNNELS: Final = 8
AGENT_PAUSE_S: Final = 0.1
OPEN_S: Final = 30.0
STUCK_S: Final = 120.0
UNSTALLED_S: Final = 10.0
"""How long the others' speed is measured before one stalls."""

STALLED_SIZE: Final = 64 * MIB
ENDLESS: Final = 2**50
KEY_LINE: Final = re.compile(rb"256 SHA256:\S+ proof \(ED25519\)\r?\n")


class Tunnel:
    """One stream each way through one tunnel, with both of its ends here."""

    def __init__(self, seed: int, size: int) -> None:
        self._streams = {way: Stream(seed, way, size) for way in (TO_SERVER, TO_CLIENT)}
        self.came = {way: Comparison(Stream(seed, way, size)) for way in (TO_SERVER, TO_CLIENT)}
        self.reads: trio.Event | None = None
        """Set when the application behind the tunnel begins to read; None: it does at once."""
        self.port = 0
        self.listens = _free_port()
        self.failure = ""

    @property
    def moved(self) -> int:
        """Bytes that came through, both ways."""
        return sum(comparison.verdict.received for comparison in self.came.values())

    @property
    def flawless(self) -> bool:
        """Everything came, once and in order."""
        return all(comparison.flawless for comparison in self.came.values())

    @property
    def fault(self) -> str:
        """The first byte that is wrong."""
        for comparison in self.came.values():
            if (at := comparison.verdict.first_difference) is not None:
                return f"byte {at} is wrong"
        return ""

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the application behind the tunnel."""
        far = partial(self._talk, TO_CLIENT, TO_SERVER)
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, far, 0, host="127.0.0.1"))
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    async def use(self) -> None:
        """Be the application before it."""
        with trio.fail_after(OPEN_S):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self.listens)
                except OSError:
                    await trio.sleep(0.05)
                else:
                    break
        await self._talk(TO_SERVER, TO_CLIENT, stream)

    async def _talk(self, says: int, hears: int, stream: trio.SocketStream) -> None:
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._say, stream, self._streams[says])
                if hears == TO_SERVER and self.reads is not None:
                    await self.reads.wait()
                async for data in stream:
                    self.came[hears].feed(bytes(data))
        except* trio.BrokenResourceError as error:
            self.failure = f"reset: {error.exceptions[0]}"

    async def _say(self, stream: trio.SocketStream, source: Stream) -> None:
        while data := source.take():
            await stream.send_all(data)
        await stream.send_eof()


class Agent:
    """The user's ssh agent, and what it answers on the far side."""

    def __init__(self, place: Path) -> None:
        self.answers = 0
        self.failure = ""
        self.path = place / "agent"
        key = place / "key"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "proof", "-f", str(key)]
        subprocess.run(command, check=True)
        self._process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(self.path)], stdout=subprocess.DEVNULL
        )
        while not self.path.exists():
            time.sleep(0.01)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(self.path)}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)

    def hear(self, output: bytes) -> bytes:
        """Take what the far side printed; return what is no whole line yet."""
        *lines, rest = output.splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            lines, rest = [*lines, rest], b""
        for line in lines:
            if KEY_LINE.fullmatch(line):
                self.answers += 1
            else:
                self.failure = self.failure or repr(line)
        return rest

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


ASK: Final = f"while :; do ssh-add -l; sleep {AGENT_PAUSE_S}; done"


class Run:
    """One session with tunnels, and the network between."""

    def __init__(
        self, stage: Stage, agent: Agent, tunnels: Sequence[Tunnel], network: FaultyNetwork
    ) -> None:
        self._stage = stage
        self._agent = agent
        self._tunnels = tunnels
        self._network = network
        self._errors = b""

    async def chaos(self, cuts: int, size: int) -> list[str]:
        """Everything through the tunnels while the network fails; return what went wrong.

        ``size`` is that of all streams, so that the cuts are spread over them.
        """
        network, tunnels = self._network, self._tunnels

        def every() -> float:
            return max(0.0, (size - moved(tunnels)) / max(1, cuts - network.cuts) / 2)

        async with self._session(tunnels) as nursery:
            nursery.start_soon(network.fail, every, lambda: network.cuts >= cuts)
            await self._until_through(tunnels)
            nursery.cancel_scope.cancel()
        failures = self._failures(tunnels)
        if network.cuts < cuts:
            failures.append(f"only {network.cuts} cuts before all was through")
        return failures

    async def stall(self, seconds: float) -> tuple[list[str], float, float]:
        """The first tunnel's application does not read for so long; return what went wrong,
        and how many bytes a second went through the others before and meanwhile."""
        still, *others = self._tunnels
        still.reads = trio.Event()
        async with self._session(others) as nursery:
            free = await speed(others, UNSTALLED_S)
            nursery.start_soon(still.use)
            beside = await speed(others, seconds)
            still.reads.set()
            await self._until_through([still])
            nursery.cancel_scope.cancel()
        return self._failures([still]), free, beside

    @asynccontextmanager
    async def _session(self, used: Sequence[Tunnel]) -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(self._network.serve)
            options = ["--via", "direct", "-p", str(port), "-k", "2", "--escape", "none"]
            options += ["-A", "--ssh-socket", str(self._agent.path)]
            for number, tunnel in enumerate(self._tunnels):
                await nursery.start(tunnel.serve)
                options.append("-L" if number % 2 else "-R")
                options.append(f"{tunnel.listens}:localhost:{tunnel.port}")
            process = await trio.lowlevel.open_process(
                [*TRIOET, "connect", *options, HOST, "--", ASK],
                env=self._stage.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(self._hear, process.stdout)
            nursery.start_soon(self._collect, process.stderr)
            for tunnel in used:
                nursery.start_soon(tunnel.use)
            try:
                yield nursery
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()

    async def _hear(self, stdout: trio.abc.ReceiveStream) -> None:
        rest = b""
        async for data in stdout:
            rest = self._agent.hear(rest + data)

    async def _collect(self, stderr: trio.abc.ReceiveStream) -> None:
        async for data in stderr:
            self._errors = (self._errors + data)[-2000:]

    async def _until_through(self, tunnels: Sequence[Tunnel]) -> None:
        """Wait until everything came, or nothing moves any more."""
        before, since = -1, trio.current_time()
        while not all(tunnel.flawless or tunnel.failure for tunnel in tunnels):
            if moved(tunnels) != before:
                before, since = moved(tunnels), trio.current_time()
            elif trio.current_time() - since > STUCK_S:
                return
            await trio.sleep(0.1)

    def _failures(self, through: Sequence[Tunnel]) -> list[str]:
        failures = [
            f"tunnel {number}: {tunnel.failure or tunnel.fault or 'stuck'}"
            for number, tunnel in enumerate(self._tunnels)
            if tunnel.failure or tunnel.fault or (tunnel in through and not tunnel.flawless)
        ]
        if self._agent.failure:
            failures.append(f"the agent answered {self._agent.failure}")
        if failures and self._errors:
            failures.append(self._errors.decode(errors="replace"))
        return failures


def moved(tunnels: Sequence[Tunnel]) -> int:
    """Bytes that came through all of them, both ways."""
    return sum(tunnel.moved for tunnel in tunnels)


async def speed(tunnels: Sequence[Tunnel], seconds: float) -> float:
    """Watch them for so long; return bytes a second."""
    before, begun = moved(tunnels), trio.current_time()
    await trio.sleep(seconds)
    return (moved(tunnels) - before) / (trio.current_time() - begun)


def main() -> int:
    """Run both; 0 if every byte arrived once and in order, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m proof.tunnels", description=__doc__)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--mib", type=int, default=256, help="both ways, all tunnels (256)")
    parser.add_argument("--stall", type=float, default=60.0, metavar="S", help="seconds (60)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    be_ended_by_sigterm()
    print(f"seed {options.seed}", flush=True)
    size = options.mib * MIB
    with open_stage() as stage, closing(Agent(stage.place)) as agent:
        network = FaultyNetwork("127.0.0.1", stage.port, options.seed)
        tunnels = [Tunnel(options.seed + n, size // (2 * TUNNELS)) for n in range(TUNNELS)]
        failures = trio.run(Run(stage, agent, tunnels, network).chaos, options.cuts, size)
        print(f"chaos: {moved(tunnels)} bytes, {network.cuts} cuts, {agent.answers} answers")
        print(*(f"  {text}" for text in failures or ["every byte once and in order"]), sep="\n")
        tunnels = [Tunnel(options.seed, STALLED_SIZE)]
        tunnels += [Tunnel(options.seed + n, ENDLESS) for n in range(1, TUNNELS)]
        network = FaultyNetwork("127.0.0.1", stage.port, options.seed)
        run = Run(stage, agent, tunnels, network)
        stalled, free, beside = trio.run(run.stall, options.stall)
    print(f"stall of {options.stall:g} s: the others at {beside / free:.0%} of their speed before")
    print(*(f"  {text}" for text in stalled or ["every byte once and in order"]), sep="\n")
    return 1 if failures or stalled else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
