"""A real user works while strangers do what they can: `python -m proof.siege`.

First quiet, then besieged, the same user opens sessions and types; README.md says what the
strangers do. The server must neither lose a session, nor grow, nor make anybody wait.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from proof.attacks import Plan
from proof.faults import FaultyNetwork
from proof.stage import PROJECT, SOURCE, Figures, Stage, figures, open_stage

SECONDS: Final = 100.0
"""How long a siege lasts at full scale: at 100 a second, 10,000 of each kind."""

CONNECT_GOAL_S: Final = 1.0
ECHO_GOAL: Final = 2.0
"""Times the quiet p99."""

GROWTH_GOAL: Final = 20 * 2**20
KEY_EVERY_S: Final = 0.05
SETTLE_S: Final = 16.0
"""After the siege: until what strangers began has timed out."""

PATIENCE_S: Final = 30.0
READY: Final = b"=ready="
FAR_ECHO: Final = "stty raw -echo; printf =rea''dy=; exec cat"


@dataclasses.dataclass
class Times:
    """Seconds that the user waited."""

    connects: list[float] = dataclasses.field(default_factory=list)
    echoes: list[float] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of all lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class User:
    """Somebody at a terminal whose far side sends back every key."""

    def __init__(self, stage: Stage, argv: list[str]) -> None:
        self._stage = stage
        self._argv = argv
        self.process: trio.Process | None = None

    async def connect(self) -> float:
        """Open a session; return how long that took."""
        begun = time.perf_counter()
        self.process = await trio.lowlevel.open_process(
            self._argv,
            env=self._stage.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        await self._until(READY)
        return time.perf_counter() - begun

    async def echo(self, key: bytes) -> float:
        """Type a key; return how long it took to come back."""
        assert self.process is not None
        assert self.process.stdin is not None
        begun = time.perf_counter()
        await self.process.stdin.send_all(key)
        await self._until(key)
        return time.perf_counter() - begun

    async def leave(self) -> None:
        """End the session."""
        assert self.process is not None
        self.process.terminate()
        await self.process.wait()

    async def _until(self, text: bytes) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        seen = b""
        with trio.fail_after(PATIENCE_S):
            while text not in seen:
                data = await self.process.stdout.receive_some(4096)
                if not data:
                    raise EOFError("the session ended")
                seen += data


class Siege:
    """One user, before and while strangers come."""

    def __init__(self, stage: Stage, *, seed: int, scale: float, socket: Path | None) -> None:
        self._stage = stage
        self._seed = seed
        self._scale = scale
        self._socket = socket
        self.strangers: dict[str, int] = {}
        self.quiet, self.besieged = Times(), Times()
        self.growth: dict[str, int] = {}
        self.leaked: dict[str, int] = {}
        self.relayed_connections = 0

    async def run(self) -> None:
        """Measure quiet, besiege, measure again, and look what is left."""
        network = FaultyNetwork("127.0.0.1", self._stage.port, self._seed)
        async with trio.open_nursery() as nursery:
            port = await nursery.start(network.serve)
            resident = User(self._stage, self._client(port))
            await resident.connect()
            recording = network.newest_recording()
            await self._measure(resident, self.quiet, 20 * self._scale)
            before = self._figures()
            async with trio.open_nursery() as meanwhile:
                meanwhile.start_soon(self._besiege, recording)
                await trio.sleep(3)
                await self._measure(resident, self.besieged, SECONDS * self._scale - 5)
            await trio.sleep(SETTLE_S)
            after = self._figures()
            for name, was in before.items():
                self.growth[name] = after[name].rss - was.rss
                self.leaked[name] = after[name].descriptors - was.descriptors
            self.relayed_connections = network.accepted
            await resident.leave()
            nursery.cancel_scope.cancel()

    def _client(self, port: int) -> list[str]:
        argv = self._stage.client(port, "sh", "-c", FAR_ECHO)
        if self._socket is None:
            return argv
        at = argv.index("connect") + 1
        return [*argv[:at], "--serverfifo", str(self._socket), *argv[at:]]

    async def _measure(self, resident: User, times: Times, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_typing, resident, times)
                nursery.start_soon(self._keep_connecting, times)

    async def _keep_typing(self, user: User, times: Times) -> None:
        number = 0
        while True:
            number += 1
            try:
                with trio.CancelScope(shield=True):
                    times.echoes.append(await user.echo(f"<{number}>".encode()))
            except (EOFError, trio.TooSlowError, trio.BrokenResourceError) as error:
                times.failures.append(f"the resident's session: {error!r}")
                return
            await trio.sleep(KEY_EVERY_S)

    async def _keep_connecting(self, times: Times) -> None:
        while True:
            user = User(self._stage, self._client(self._stage.port))
            with trio.CancelScope(shield=True):
                try:
                    times.connects.append(await user.connect())
                    await user.echo(b"<hello>")
                except (EOFError, trio.TooSlowError, trio.BrokenResourceError) as error:
                    times.failures.append(f"a new session: {error!r}")
                with suppress(ProcessLookupError):
                    await user.leave()
            await trio.sleep(0.5)

    async def _besiege(self, recording: bytes) -> None:
        plan = Plan(
            seed=self._seed,
            host="127.0.0.1",
            port=self._stage.port,
            client_id=recording[10:26].decode(),
            recording=base64.b64encode(recording).decode(),
            registration=str(self._socket or ""),
            seconds=SECONDS * self._scale,
        )
        with tempfile.TemporaryDirectory(prefix="siege-") as place:
            path = Path(place) / "plan"
            path.write_text(json.dumps(dataclasses.asdict(plan)))
            done = await trio.run_process(
                [sys.executable, "-P", "-m", "proof.attacks", str(path)],
                env={**os.environ, "PYTHONPATH": f"{SOURCE}:{PROJECT}"},
                capture_stdout=True,
            )
        self.strangers = json.loads(done.stdout)

    def _figures(self) -> dict[str, Figures]:
        assert self._stage.router is not None
        (keeper,) = self._stage.keepers()
        found = {"router": figures(self._stage.router.pid), "keeper": figures(keeper)}
        return {name: taken for name, taken in found.items() if taken is not None}

    def rows(self) -> list[tuple[str, str, str, bool]]:
        """What was measured, its figure, its goal, and whether that is met."""
        calm, siege = self.quiet, self.besieged
        connect = percentile(siege.connects, 0.99)
        echo, quiet_echo = percentile(siege.echoes, 0.99), percentile(calm.echoes, 0.99)
        failures = [*calm.failures, *siege.failures]
        rows = [
            (
                f"connect, {len(siege.connects)} times: p50, p99",
                f"{median_ms(siege.connects)}, {1000 * connect:.0f} ms"
                f" (quiet {median_ms(calm.connects)}, "
                f"{1000 * percentile(calm.connects, 0.99):.0f} ms)",
                f"p99 < {CONNECT_GOAL_S:g} s",
                connect < CONNECT_GOAL_S,
            ),
            (
                f"echo, {len(siege.echoes)} keys: p50, p99",
                f"{median_ms(siege.echoes)}, {1000 * echo:.1f} ms"
                f" (quiet {median_ms(calm.echoes)}, {1000 * quiet_echo:.1f} ms)",
                f"p99 < {ECHO_GOAL:g} x quiet",
                echo < ECHO_GOAL * quiet_echo,
            ),
            ("sessions disturbed", str(len(failures)), "0", not failures),
            (
                "connections that the resident used",
                str(self.relayed_connections),
                "1",
                self.relayed_connections == 1,
            ),
        ]
        for name, grown in self.growth.items():
            rows.append(
                (f"{name} grew", f"{grown / 2**20:.1f} MiB", "< 20 MiB", grown < GROWTH_GOAL)
            )
        for name, leaked in self.leaked.items():
            rows.append((f"{name} descriptors leaked", str(leaked), "0", leaked <= 0))
        return rows


def median_ms(values: list[float]) -> str:
    return f"{1000 * statistics.median(values):.1f}"


@contextmanager
def shared_place() -> Iterator[Path | None]:
    """Where every local user may register; needs root, or nobody else could be played."""
    if os.geteuid() != 0:
        yield None
        return
    parent = "/dev/shm" if os.path.isdir("/dev/shm") else "/run"
    place = Path(tempfile.mkdtemp(prefix="siege-", dir=parent))
    place.chmod(0o755)
    try:
        yield place / "router.sock"
    finally:
        shutil.rmtree(place)


def main() -> int:
    """Besiege a server; 0 if every goal is met, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m proof.siege", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of 100 seconds (1.0)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with shared_place() as socket, open_stage(socket=socket) as stage:
        siege = Siege(stage, seed=options.seed, scale=options.scale, socket=socket)
        trio.run(siege.run)
    rows = siege.rows()
    print("strangers:", ", ".join(f"{count} {name}" for name, count in siege.strangers.items()))
    for what, figure, goal, met in rows:
        print(f"  {what:<40} {figure:<52} {goal:<18} {'met' if met else 'MISSED'}")
    for failure in [*siege.quiet.failures, *siege.besieged.failures]:
        print(f"  {failure}")
    if options.json:
        options.json.write_text(json.dumps([list(row) for row in rows], indent=1))
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
