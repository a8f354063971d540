"""Cut a thousand times while data goes both ways; then compare every byte.

`python -m proof.chaos --help`; README.md says what happens to the connections.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import trio

from proof.faults import FaultyNetwork
from proof.network import FAR_ADDRESS, KernelNetwork, inside, namespaces, why_not
from proof.session import Session
from proof.stage import Stage, be_ended_by_sigterm, open_stage

MIB: Final = 1024 * 1024
SHARE: Final = 0.2
"""Of all connections that a fault strikes, where there are many."""

LOST_STRIKES: Final = 2.0
"""Faults for each cut: some cut nothing, or what another has just cut."""

EXIT_NO_NAMESPACES: Final = 77

STUCK_S: Final = 120.0
"""With fewer bytes than ALIVE for so long, a run has failed."""

ALIVE: Final = 100_000
"""More than the handshakes of a link that gets no further."""


@dataclasses.dataclass
class Report:
    """What a run came to."""

    seed: int
    sessions: int
    cuts: int
    faults: dict[str, int]
    through_weather: dict[str, int]
    """Connections that began in bad weather, by its kind."""
    overtakings: int
    cuts_by_quarter: list[int]
    """In the first, second, third and last quarter of all bytes relayed."""
    bytes: int
    relayed: int
    seconds: float
    failures: list[str]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}, {self.sessions} session(s), {self.seconds:.0f} s",
            f"  bytes both ways   {self.bytes}",
            f"  bytes relayed     {self.relayed}",
            f"  connections cut   {self.cuts}",
            *(f"    {name:<15} {count}" for name, count in sorted(self.faults.items())),
            f"  in each quarter   {', '.join(map(str, self.cuts_by_quarter))}",
            f"  began in weather  {self.through_weather or 'none'}",
            f"  overtook an older {self.overtakings}",
        ]
        verdict = "0 bytes lost, doubled or out of order"
        lines += [f"  {failure}" for failure in self.failures] or [f"  {verdict}"]
        return "\n".join(lines)


class Chaos:
    """One run: sessions on a stage, and the network between.

    Without ``spaces`` that is loopback and a relay; with them, two namespaces and a cable.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        seed: int,
        sessions: int,
        size: int,
        cuts: int,
        spaces: tuple[str, str] | None = None,
    ) -> None:
        self._stage = stage
        self._cuts = cuts
        self._seed = seed
        self._size = size
        self._share = max(SHARE, 1 / sessions)
        each = size // (2 * sessions)
        self.sessions = [Session(stage, seed + number, each) for number in range(sessions)]
        self.relay = FaultyNetwork("127.0.0.1", stage.port, seed)
        self.network: FaultyNetwork | KernelNetwork = self.relay
        self._inside: Sequence[str] = ()
        if spaces is not None:
            self.network = KernelNetwork(*spaces, seed, self._moved)
            self._inside = inside(spaces[0])

    async def run(self) -> Report:
        """Run it to the end, whatever that is."""
        begun = time.monotonic()
        async with trio.open_nursery() as nursery:
            port = self._stage.port
            if self.network is self.relay:
                port = await nursery.start(self.relay.serve)
            gate = trio.Event()
            async with trio.open_nursery() as sessions:
                for session in self.sessions:
                    argv = [*self._inside, *self._stage.client(port, *session.command())]
                    sessions.start_soon(session.run, argv, gate)
                    await trio.sleep(0.05)
                for session in self.sessions:
                    await session.ready.wait()
                gate.set()
                nursery.start_soon(self._watch, nursery.cancel_scope)
                nursery.start_soon(self.network.fail, self._every, self._enough, self._share)
            nursery.cancel_scope.cancel()
        failures = [
            f"session {number}: {session.outcome}"
            for number, session in enumerate(self.sessions)
            if session.outcome
        ]
        if self.network.cuts < self._cuts:
            failures.append(f"only {self.network.cuts} cuts before all was through")
        return Report(
            seed=self._seed,
            sessions=len(self.sessions),
            cuts=self.network.cuts,
            faults={fault.name.lower(): count for fault, count in self.network.counts.items()},
            through_weather={
                fault.name.lower(): count for fault, count in self.relay.through_weather.items()
            },
            overtakings=self.relay.overtakings,
            cuts_by_quarter=quarters(self.network.cut_at, self.network.moved),
            bytes=sum(session.moved + session.size for session in self.sessions),
            relayed=self.network.moved,
            seconds=time.monotonic() - begun,
            failures=failures,
        )

    def _moved(self) -> int:
        return 2 * sum(session.moved for session in self.sessions)

    def _every(self) -> float:
        """Bytes to the next fault, so that the cuts are spread over all of the data."""
        left = self._size - self._moved()
        strikes = max(1.0, self._cuts - self.network.cuts) / (self._share * len(self.sessions))
        return max(0.0, left / strikes / LOST_STRIKES)

    def _enough(self) -> bool:
        return self.network.cuts >= self._cuts

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End a run in which nothing moves any more."""
        before = -ALIVE
        while True:
            moved = self._moved() + self.network.moved
            if moved - before < ALIVE:
                for session in self.sessions:
                    if not session.comparison.flawless:
                        session.outcome = session.outcome or f"stuck at byte {session.moved}"
                scope.cancel()
            before = moved
            await trio.sleep(STUCK_S)


def quarters(positions: list[int], total: int) -> list[int]:
    """How many of the positions lie in each quarter of ``total``."""
    counts = [0, 0, 0, 0]
    for position in positions:
        counts[min(3, 4 * position // max(1, total))] += 1
    return counts


def main() -> int:
    """Run chaos; 0 if every byte arrived once and in order, 1 if not, 77 if it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m proof.chaos", description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=1024, help="both ways, all sessions (1024)")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--network",
        choices=("loopback", "netns"),
        default="loopback",
        help="a relay on loopback, or network namespaces, which need root",
    )
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    be_ended_by_sigterm()
    print(f"seed {options.seed}", flush=True)
    with ExitStack() as stack:
        spaces = None
        if options.network == "netns":
            if why := why_not():
                print(why)
                return EXIT_NO_NAMESPACES
            spaces = stack.enter_context(namespaces())
            stage = stack.enter_context(open_stage(inside=inside(spaces[1]), bind=FAR_ADDRESS))
        else:
            stage = stack.enter_context(open_stage())
        chaos = Chaos(
            stage,
            seed=options.seed,
            sessions=options.sessions,
            size=options.mib * MIB,
            cuts=options.cuts,
            spaces=spaces,
        )
        if isinstance(chaos.network, KernelNetwork):
            for fault in chaos.network.left_out:
                print(f"this kernel cannot: {fault.text} ({fault.qdisc})")
        report = trio.run(chaos.run)
    print(report)
    if options.json:
        options.json.write_text(json.dumps(dataclasses.asdict(report), indent=1))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
