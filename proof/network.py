"""A network that fails, made by the kernel: two network namespaces and what tc(8) does.

Needs root and iproute2. Which faults there are depends on the kernel: those of netem(8) are
left out, and named, where it is not built in.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Final

import trio

NEAR_ADDRESSES: Final = ("192.0.2.1", "192.0.2.5")
FAR_ADDRESS: Final = "192.0.2.2"
PREFIX: Final = 24


class Fault(Enum):
    """What the kernel does; how often, among all; and the netem or tbf words for it."""

    KILL = "every connection is destroyed in both kernels, ss(8) -K", 60, ""
    LINK_DOWN = "the cable is out for up to two seconds", 15, ""
    NEW_ADDRESS = "the client's address changes, and the old one is gone", 8, ""
    NARROW = "64 kbit/s for a moment", 2, "tbf rate 64kbit burst 16kb latency 400ms"
    LOSS = "30 % of all packets are lost for a moment", 5, "netem loss 30%"
    FAR_AWAY = "2 s of round trip for a moment", 2, "netem delay 1000ms"
    REORDER = "a quarter of all packets overtake others", 4, "netem delay 20ms reorder 25% 50%"
    DUPLICATE = "a tenth of all packets come twice", 4, "netem duplicate 10%"
    CORRUPT = "a bit of every hundredth packet is wrong", 4, "netem corrupt 1%"

    def __init__(self, text: str, weight: int, qdisc: str) -> None:
        self.text = text
        self.weight = weight
        self.qdisc = qdisc


class KernelNetwork:
    """Two namespaces with a cable between them. ``moved()`` says how much went through it."""

    def __init__(self, near: str, far: str, seed: int, moved: Callable[[], int]) -> None:
        self.counts: Counter[Fault] = Counter()
        self.cut_at: list[int] = []
        """What :attr:`moved` was at each fault."""
        self.faults = [fault for fault in Fault if _there_is(near, fault.qdisc)]
        self._near, self._far = near, far
        self._rng = random.Random(seed)
        self._address = 0
        self._moved = moved

    @property
    def cuts(self) -> int:
        """Faults so far."""
        return self.counts.total()

    @property
    def moved(self) -> int:
        """Bytes that went through."""
        return self._moved()

    @property
    def left_out(self) -> list[Fault]:
        """What this kernel cannot do."""
        return [fault for fault in Fault if fault not in self.faults]

    async def fail(
        self, every: Callable[[], float], enough: Callable[[], bool], share: float = 1.0
    ) -> None:
        """Do something random after about ``every()`` bytes, again and again, until ``enough()``.

        ``share`` means nothing here: the cable is everybody's.
        """
        weights = [fault.weight for fault in self.faults]
        while not enough():
            goal = self.moved + self._rng.uniform(0, 2 * every())
            with trio.move_on_after(3):
                while self.moved < goal:  # noqa: ASYNC110 - the kernel counts, and says nothing
                    await trio.sleep(0.01)
            (fault,) = self._rng.choices(self.faults, weights)
            self.counts[fault] += 1
            self.cut_at.append(self.moved)
            await self.strike(fault)

    async def strike(self, fault: Fault) -> None:
        """Let a fault happen, and end."""
        if fault is Fault.KILL:
            for space in (self._near, self._far):
                await self._in(space, "ss", "-K", "-t", "state", "established")
        elif fault is Fault.LINK_DOWN:
            await self._in(self._near, "ip", "link", "set", "cable", "down")
            await trio.sleep(self._rng.uniform(0, 2))
            await self._in(self._near, "ip", "link", "set", "cable", "up")
        elif fault is Fault.NEW_ADDRESS:
            was, self._address = NEAR_ADDRESSES[self._address], 1 - self._address
            now = NEAR_ADDRESSES[self._address]
            await self._in(self._near, "ip", "addr", "add", f"{now}/{PREFIX}", "dev", "cable")
            await self._in(self._near, "ip", "addr", "del", f"{was}/{PREFIX}", "dev", "cable")
        else:
            words = fault.qdisc.split()
            for space in (self._near, self._far):
                await self._in(space, "tc", "qdisc", "replace", "dev", "cable", "root", *words)
            await trio.sleep(self._rng.uniform(0.5, 3))
            for space in (self._near, self._far):
                await self._in(space, "tc", "qdisc", "del", "dev", "cable", "root")

    async def _in(self, space: str, *command: str) -> None:
        await trio.run_process(
            [*inside(space), *command], capture_stdout=True, capture_stderr=True, check=False
        )


def inside(space: str) -> Sequence[str]:
    """How a command is run in a namespace."""
    return ("ip", "netns", "exec", space)


def why_not() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip") or not shutil.which("ss"):
        return "network namespaces need iproute2"
    made = _quietly("ip", "netns", "add", _name("probe"))
    _quietly("ip", "netns", "del", _name("probe"))
    return "" if made else "this kernel, or this container, gives no network namespaces"


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """The names of two namespaces, near and far, joined by a cable; gone afterwards."""
    near, far = _name("near"), _name("far")
    cable = ("ip", "link", "add", "cable", "netns", near, "type", "veth")
    try:
        _must("ip", "netns", "add", near)
        _must("ip", "netns", "add", far)
        _must(*cable, "peer", "name", "cable", "netns", far)
        for space, address in ((near, NEAR_ADDRESSES[0]), (far, FAR_ADDRESS)):
            _must(*inside(space), "ip", "link", "set", "lo", "up")
            _must(*inside(space), "ip", "addr", "add", f"{address}/{PREFIX}", "dev", "cable")
            _must(*inside(space), "ip", "link", "set", "cable", "up")
        yield near, far
    finally:
        _quietly("ip", "netns", "del", near)
        _quietly("ip", "netns", "del", far)


def _name(part: str) -> str:
    return f"proof-{os.getpid()}-{part}"


def _must(*command: str) -> None:
    subprocess.run(command, check=True)


def _quietly(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _there_is(space: str, qdisc: str) -> bool:
    if not qdisc:
        return True
    made = _quietly(*inside(space), "tc", "qdisc", "add", "dev", "lo", "root", *qdisc.split())
    _quietly(*inside(space), "tc", "qdisc", "del", "dev", "lo", "root")
    return made
