"""Sessions in use for an hour, through random faults and router restarts: is anything growing?

`python -m proof.soak --minutes 60`. Takes little of the machine, and can run beside other work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from proof.faults import FaultyNetwork
from proof.session import Session
from proof.stage import Figures, Stage, be_ended_by_sigterm, figures, open_stage

RATE: Final = 16_000
"""Bytes a second of each session, each way: a person who watches a busy log."""

CUT_EVERY_S: Final = 5.0
RESTART_EVERY_S: Final = (60.0, 120.0)
SAMPLE_EVERY_S: Final = 10.0
GROWTH: Final = 4 * 1024 * 1024
"""Bytes that a process may take more at the end than at the beginning, medians compared."""

END_S: Final = 180.0


@dataclasses.dataclass
class Sample:
    """What one process took at one time."""

    at: float
    name: str
    rss: int
    descriptors: int


@dataclasses.dataclass
class Row:
    """One kind of process, at the beginning and at the end."""

    name: str
    rss_first: float
    rss_last: float
    rss_most: float
    descriptors_first: float
    descriptors_last: float
    descriptors_most: float

    @property
    def flat(self) -> bool:
        """Whether nothing grew."""
        return (
            self.rss_last - self.rss_first <= GROWTH
            and self.descriptors_last <= self.descriptors_first + 1
        )

    def __str__(self) -> str:
        rss = " ".join(f"{value / 2**20:7.1f}" for value in (
            self.rss_first, self.rss_last, self.rss_most))  # fmt: skip
        descriptors = " ".join(f"{value:5.0f}" for value in (
            self.descriptors_first, self.descriptors_last, self.descriptors_most))  # fmt: skip
        return f"  {self.name:<10} {rss}   {descriptors}   {'flat' if self.flat else 'GROWS'}"


class Soak:
    """One run."""

    def __init__(self, stage: Stage, *, seed: int, sessions: int, seconds: float) -> None:
        self._stage = stage
        self._rng = random.Random(seed)
        self._seconds = seconds
        size = int(RATE * seconds)
        self.sessions = [Session(stage, seed + n, size, RATE) for n in range(sessions)]
        self.network = FaultyNetwork("127.0.0.1", stage.port, seed)
        self.samples: list[Sample] = []
        self._begun = 0.0

    async def run(self) -> None:
        """Run until all sessions have ended, however they end."""
        self._begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            port = await nursery.start(self.network.serve)
            nursery.start_soon(self._sample)
            nursery.start_soon(self._restart)
            nursery.start_soon(self._cut)
            with trio.move_on_after(self._seconds + END_S) as patience:
                async with trio.open_nursery() as sessions:
                    for session in self.sessions:
                        argv = self._stage.client(port, *session.command())
                        sessions.start_soon(session.run, argv)
            nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            for session in self.sessions:
                if not session.comparison.flawless:
                    session.outcome = session.outcome or f"late: at byte {session.moved}"

    async def _cut(self) -> None:
        await trio.sleep(5)
        bytes_between = 2 * RATE * len(self.sessions) * CUT_EVERY_S
        await self.network.fail(lambda: bytes_between, self._done, 0.5)

    def _done(self) -> bool:
        return trio.current_time() > self._seconds - 30 + self._begun

    async def _restart(self) -> None:
        while True:
            await trio.sleep(self._rng.uniform(*RESTART_EVERY_S))
            if self._done():
                return
            how = self._rng.choice([signal.SIGKILL, signal.SIGTERM])
            await trio.to_thread.run_sync(self._stage.end_router, how)
            await trio.sleep(self._rng.uniform(0, 3))
            await trio.to_thread.run_sync(self._stage.start_router)

    async def _sample(self) -> None:
        while True:
            for name, pid in self._processes():
                found: Figures | None = figures(pid)
                if found is not None:
                    at = trio.current_time() - self._begun
                    self.samples.append(Sample(at, name, found.rss, found.descriptors))
            await trio.sleep(SAMPLE_EVERY_S)

    def _processes(self) -> Iterator[tuple[str, int]]:
        if self._stage.router is not None:
            yield "router", self._stage.router.pid
        for pid in self._stage.keepers():
            yield "keeper", pid
        for session in self.sessions:
            if session.process is not None and session.process.returncode is None:
                yield "client", session.process.pid


def rows(samples: list[Sample]) -> list[Row]:
    """The first tenth of the time beside the last; what comes before all is in use is left out."""
    last = max(sample.at for sample in samples)
    made = []
    for name in ("client", "router", "keeper"):
        mine = [s for s in samples if s.name == name and s.at > 0.03 * last]
        early = [s for s in mine if s.at < 0.13 * last]
        late = [s for s in mine if s.at > 0.87 * last]
        made.append(
            Row(
                name,
                statistics.median(s.rss for s in early),
                statistics.median(s.rss for s in late),
                max(s.rss for s in mine),
                statistics.median(s.descriptors for s in early),
                statistics.median(s.descriptors for s in late),
                max(s.descriptors for s in mine),
            )
        )
    return made


def main() -> int:
    """Soak; 0 if nothing was lost and nothing grew, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m proof.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path, help="write the samples there as well")
    options = parser.parse_args()
    be_ended_by_sigterm()
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    with open_stage() as stage:
        soak = Soak(
            stage, seed=options.seed, sessions=options.sessions, seconds=60 * options.minutes
        )
        trio.run(soak.run)
        restarts = stage.router_starts - 1
    table = rows(soak.samples)
    failures = [f"session: {session.outcome}" for session in soak.sessions if session.outcome]
    moved = sum(session.moved + session.size for session in soak.sessions)
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes, {options.sessions} sessions")
    print(f"  connections cut {soak.network.cuts}, router ended {restarts} times, {moved} bytes")
    print("              MiB RSS: first, last, most   descriptors: first, last, most")
    for row in table:
        print(row)
    print(
        "\n".join(
            f"  {failure}" for failure in failures or ["0 bytes lost, doubled or out of order"]
        )
    )
    if options.json:
        came_to = {
            "seed": options.seed,
            "minutes": options.minutes,
            "sessions": options.sessions,
            "cuts": soak.network.cuts,
            "faults": {fault.name.lower(): n for fault, n in soak.network.counts.items()},
            "restarts": restarts,
            "bytes": moved,
            "failures": failures,
            "table": [dataclasses.asdict(row) for row in table],
            "samples": [dataclasses.asdict(sample) for sample in soak.samples],
        }
        options.json.write_text(json.dumps(came_to))
    return 1 if failures or not all(row.flat for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
