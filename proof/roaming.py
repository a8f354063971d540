"""A client whose network changes under it: how soon after that is the first echo there?

`python -m proof.roaming`: needs root, iproute2 and /dev/net/tun. Real client, router and keeper in
two network namespaces; between them are three networks with NAT (proof/gateway.py), of which
those left behind go dark: nobody is told that what is sent there is lost.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pty
import random
import shlex
import signal
import statistics
import subprocess
import sys
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from proof.gateway import TUN, Gateway, Network, address, open_tun
from proof.network import inside, why_not
from proof.stage import HOST, TRIOET, Stage, be_ended_by_sigterm, open_stage

CANNOT: Final = 77
SERVER: Final = "198.51.100.1"
NAMES: Final = ("wifi", "lte", "vpn")
PATIENCE_S: Final = 60.0
GOAL_MEDIAN_S: Final = 0.1
"""Beyond the round trip."""
GOAL_P99_S: Final = 2.0

FAR: Final = """
import os, time, tty
tty.setraw(0)
os.write(1, b"READY")
while key := os.read(0, 1):
    if key == b"<":
        time.sleep(0.3)
        os.write(1, b">")
    else:
        os.write(1, key.upper())
"""
"""Answers each key by its capital; and < by >, a moment later."""


class Roamer:
    """A person at a real client on a real terminal, and the networks around."""

    def __init__(self, stage: Stage, near: str, networks: dict[str, Network], seed: int) -> None:
        self.networks = networks
        self.rng = random.Random(seed)
        self._stage = stage
        self._near = near
        self._terminal = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = b""

    def start(self) -> None:
        """Start the client."""
        self._terminal, slave = pty.openpty()
        tty.setraw(slave)
        far = shlex.join([sys.executable, "-c", FAR])
        options = ["-p", str(self._stage.port), "--escape", "none"]
        self._process = subprocess.Popen(
            [*inside(self._near), *TRIOET, "connect", *options, HOST, "--", far],
            env=self._stage.environment,
            stdin=slave,
            stdout=slave,
            start_new_session=True,
        )
        os.close(slave)
        os.set_blocking(self._terminal, False)

    def close(self) -> None:
        """End the client."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)

    def signal(self, number: signal.Signals) -> None:
        """To the client."""
        assert self._process is not None
        self._process.send_signal(number)

    def type(self, key: bytes) -> None:
        """One key."""
        os.write(self._terminal, key)

    async def until(self, expected: bytes) -> None:
        """Wait until that was shown, and forget what was before."""
        with trio.fail_after(PATIENCE_S):
            while expected not in self._seen:
                await trio.lowlevel.wait_readable(self._terminal)
                try:
                    self._seen += os.read(self._terminal, 65536)
                except OSError as error:
                    raise RuntimeError(f"the client ended: {self._seen!r}") from error
        self._seen = self._seen.partition(expected)[2]

    async def echo(self) -> float:
        """Type a key; return the seconds until its answer."""
        begun = trio.current_time()
        self.type(b"x")
        await self.until(b"X")
        return trio.current_time() - begun

    # The networks

    async def ip(self, *commands: str) -> None:
        """Change the client's network, all at once."""
        batch = "\n".join(commands).encode()
        await trio.run_process(["ip", "-n", self._near, "-batch", "-"], stdin=batch)

    async def at_home(self) -> None:
        """Everything as in the beginning: on wifi, with nothing else about."""
        for network in self.networks.values():
            network.dark = False
        await trio.run_process(
            ["ip", "-n", self._near, "-force", "-batch", "-"],
            stdin=b"link set lte down\nlink set vpn down\naddr flush dev wifi\n"
            b"addr flush dev lte\naddr flush dev vpn\n",
            capture_stderr=True,
            check=False,
        )
        await self.ip(
            "link set wifi up",
            "addr replace 10.1.0.2/24 dev wifi",
            "route replace default via 10.1.0.1 dev wifi",
        )

    def dark(self, *names: str) -> None:
        """Let networks swallow everything."""
        for name in names:
            self.networks[name].dark = True


# What happens. Each returns once the network is about to be back; the rest is what it returns.

Change = Callable[[Roamer], Awaitable[Callable[[], Awaitable[None]]]]


async def new_address(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """the address changes; the old one is gone"""
    await roamer.ip("addr del 10.1.0.2/24 dev wifi")
    await away(roamer)
    return lambda: roamer.ip(
        "addr add 10.1.0.3/24 dev wifi", "route replace default via 10.1.0.1 dev wifi"
    )


async def new_route(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """the route changes to another interface; the old network is dark"""
    await roamer.ip("link set lte up", "addr add 10.2.0.2/24 dev lte")
    roamer.dark("wifi")
    await away(roamer)
    return lambda: roamer.ip("route replace default via 10.2.0.1 dev lte")


async def new_gateway(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """another default gateway, which knows no connection of the old one"""
    roamer.dark("wifi")
    await away(roamer)

    async def back() -> None:
        wifi = roamer.networks["wifi"]
        wifi.forget()
        wifi.dark = False
        await roamer.ip("route replace default via 10.1.0.254 dev wifi")

    return back


async def link_down_up(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """the link goes down and comes back; the NAT remembers"""
    await roamer.ip("link set wifi down")
    await away(roamer)
    return lambda: roamer.ip("link set wifi up", "route replace default via 10.1.0.1 dev wifi")


async def wifi_to_lte(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """a second interface comes up with the better route; the first is dark, its address there"""
    roamer.dark("wifi")
    await away(roamer)
    return lambda: roamer.ip(
        "link set lte up",
        "addr add 10.2.0.2/24 dev lte",
        "route replace default via 10.2.0.1 dev lte",
    )


async def vpn_up(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """a VPN comes up with a route of its own to the server; around it nothing goes through"""
    roamer.dark("wifi")
    await away(roamer)
    return lambda: roamer.ip(
        "link set vpn up", "addr add 10.3.0.2/24 dev vpn", f"route add {SERVER}/32 dev vpn"
    )


async def resume_elsewhere(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """stopped, carried to another network, and continued there"""
    roamer.signal(signal.SIGSTOP)
    roamer.dark("wifi")
    await away(roamer)
    await roamer.ip(
        "link set lte up",
        "addr add 10.2.0.2/24 dev lte",
        "route replace default via 10.2.0.1 dev lte",
    )
    await away(roamer)
    return continued(roamer)


async def resume_forgotten(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """stopped, and continued where it was; the NAT has forgotten the connection"""
    roamer.signal(signal.SIGSTOP)
    roamer.networks["wifi"].forget()
    await away(roamer)
    return continued(roamer)


def continued(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """What ends a stop."""

    async def back() -> None:
        roamer.signal(signal.SIGCONT)

    return back


async def nat_forgets(roamer: Roamer) -> Callable[[], Awaitable[None]]:
    """the NAT forgets the connection; nothing here changes, and nobody is told"""

    async def back() -> None:
        roamer.networks["wifi"].forget()

    return back


async def away(roamer: Roamer) -> None:
    """For a while there is no network."""
    await trio.sleep(roamer.rng.uniform(0.5, 2.5))


CHANGES: Final[tuple[Change, ...]] = (
    new_address,
    new_route,
    new_gateway,
    link_down_up,
    wifi_to_lte,
    vpn_up,
    resume_elsewhere,
    resume_forgotten,
    nat_forgets,
)
SILENT: Final = (nat_forgets,)
"""Nobody tells of these: only silence does, and only to who says something."""


@dataclasses.dataclass
class Row:
    """What one kind of change cost, in seconds."""

    name: str
    text: str
    what: str
    """What was waited for: the echo of a key, or output."""
    times: list[float]
    round_trip: float
    told: bool

    @property
    def median(self) -> float:
        """Of all times."""
        return statistics.median(self.times)

    @property
    def p99(self) -> float:
        """The greatest but one in a hundred: of less than a hundred, the greatest."""
        return sorted(self.times)[max(0, -(-len(self.times) * 99 // 100) - 1)]

    @property
    def met(self) -> bool:
        """Whether the goals were."""
        in_time = self.median <= self.round_trip + GOAL_MEDIAN_S
        return (in_time or not self.told) and self.p99 <= GOAL_P99_S

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return (
            f"  {self.name:<17} {self.what:<7} {1000 * self.median:7.0f} {1000 * self.p99:7.0f}"
            f"   {verdict if self.told else verdict + ' (p99 alone: nobody tells)'}"
        )


class Roaming:
    """One run."""

    def __init__(
        self, roamer: Roamer, gateway: Gateway, times: int, changes: tuple[Change, ...] = CHANGES
    ) -> None:
        self.rows: list[Row] = []
        self.round_trip = 0.0
        """Of a key, while all is well: network, both programs, and the far one."""
        self._roamer = roamer
        self._gateway = gateway
        self._times = times
        self._changes = changes

    async def run(self) -> None:
        """Let everything happen, so many times each."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._gateway.run)
            await self._roamer.at_home()
            self._roamer.start()
            await self._roamer.until(b"READY")
            self.round_trip = statistics.median([await self._roamer.echo() for _ in range(20)])
            for change in self._changes:
                for what in ("key",) if change in SILENT else ("key", "output"):
                    await self._measure(change, what)
            nursery.cancel_scope.cancel()

    async def _measure(self, change: Change, what: str) -> None:
        row = Row(
            change.__name__.replace("_", " "),
            change.__doc__ or "",
            what,
            [],
            self.round_trip,
            change not in SILENT,
        )
        self.rows.append(row)
        for _ in range(self._times):
            row.times.append(await self._once(change, what))
        print(row, flush=True)

    async def _once(self, change: Change, what: str) -> float:
        roamer = self._roamer
        await roamer.at_home()
        await roamer.echo()
        await trio.sleep(roamer.rng.uniform(0.2, 0.7))  # what the way home caused is over
        if what == "output":
            roamer.type(b"<")
            await trio.sleep(self.round_trip + 0.05)  # it was read; its answer meets the change
        comes_back = await change(roamer)
        begun = trio.current_time()
        await comes_back()
        if what == "key":
            await roamer.echo()
        else:
            await roamer.until(b">")
        return trio.current_time() - begun


@contextmanager
def places(seed: int, round_trip_s: float) -> Iterator[tuple[Roamer, Gateway]]:
    """Two namespaces, what lies between, and all programs; gone afterwards.

    Raises:
      OSError: there may be no tun devices.
    """
    near, far = (f"roam-{os.getpid()}-{part}" for part in ("near", "far"))
    descriptors: list[int] = []
    try:
        for space in (near, far):
            subprocess.run(["ip", "netns", "add", space], check=True)
            subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
        networks = {}
        for number, name in enumerate(NAMES, 1):
            descriptors.append(open_tun(name, near))
            networks[name] = Network(
                descriptors[-1], bytes([10, number]), address(f"203.0.113.{number}")
            )
        descriptors.append(open_tun("internet", far))
        for words in (
            f"addr add {SERVER}/24 dev internet",
            "link set internet up",
            "route add default dev internet",
        ):
            subprocess.run(["ip", "-n", far, *words.split()], check=True)
        gateway = Gateway(descriptors[-1], list(networks.values()), round_trip_s / 2)
        with open_stage(inside=inside(far), bind=SERVER) as stage:
            roamer = Roamer(stage, near, networks, seed)
            try:
                yield roamer, gateway
            finally:
                roamer.close()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        for space in (near, far):
            with suppress(OSError):
                subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)


def why_not_here() -> str:
    """Why this cannot be run here; empty if it can."""
    return why_not() or ("" if os.access(TUN, os.R_OK | os.W_OK) else f"{TUN} is not there")


def main() -> int:
    """Roam; 0 if the goals were met, 1 if not, 77 if it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m proof.roaming", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="each change, for keys and output")
    parser.add_argument("--rtt", type=float, default=20.0, help="of the networks, in ms (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", nargs="*", help="changes, by their names")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    be_ended_by_sigterm()
    if why := why_not_here():
        print(why)
        return CANNOT
    changes = tuple(c for c in CHANGES if not options.only or c.__name__ in options.only)
    print(f"seed {options.seed}", flush=True)
    print("  ms from the network's return:          median     p99", flush=True)
    with places(options.seed, options.rtt / 1000) as (roamer, gateway):
        roaming = Roaming(roamer, gateway, options.times, changes)
        trio.run(roaming.run)
    print(f"  a key and its echo, while nothing happens: {1000 * roaming.round_trip:.0f} ms")
    if options.json:
        told = {
            "seed": options.seed,
            "round_trip": roaming.round_trip,
            "rows": [dataclasses.asdict(row) for row in roaming.rows],
        }
        options.json.write_text(json.dumps(told, indent=1))
    return 0 if all(row.met for row in roaming.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
