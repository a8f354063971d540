"""The users of a server under siege, and what they went through."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from bench.peers import Peer
from bench.session import FIRST_PROMPT, run_raw_cat
from bench.terminal import BenchError, Terminal

from proof.host import Host, cause_of_death
from proof.wiretap import Wiretap

KEY_EVERY_S: Final = 0.05
KEYS: Final = (b"\x01", b"\x02", b"\x04", b"\x05")
"""Nothing that a client says of itself contains them."""
ALL_KEYS: Final = b"".join(KEYS)
CONNECT_EVERY_S: Final = 1.0
CONNECT_PATIENCE_S: Final = 30.0
ECHO_PATIENCE_S: Final = 15.0
BYSTANDERS: Final = 2


def connect(peer: Peer) -> float:
    """Connect, wait for the prompt, leave; return the seconds to the prompt.

    Raises:
      BenchError: there is none.
    """
    with Terminal(peer.argv(), peer.near_environment()) as terminal:
        terminal.wait_for(FIRST_PROMPT, CONNECT_PATIENCE_S)
        terminal.settle(0.05)
        terminal.write(b"exit\r")
        terminal.wait_end(5.0)
        return terminal.shown_at - terminal.started


class Person:
    """A user with a session, watched by an eavesdropper. Leaving it ends the client."""

    def __init__(self, peer: Peer, name: str, stack: ExitStack, delay_s: float = 0.0) -> None:
        self.name = name
        self.wiretap = stack.enter_context(Wiretap(peer.server_port, delay_s))
        self.troubles: list[str] = []
        self._typed = b""
        self._echoed = b""
        """What was shown of KEYS."""
        self._said = b""
        """What was shown besides."""
        self._terminal = stack.enter_context(
            Terminal(peer.argv(self.wiretap.port), peer.near_environment())
        )
        self._terminal.wait_for(FIRST_PROMPT, CONNECT_PATIENCE_S)
        self._terminal.settle(0.2)
        run_raw_cat(self._terminal)

    def press(self, patience_s: float = ECHO_PATIENCE_S) -> float:
        """Press a key; return the seconds until it and all before it are shown.

        Raises:
          BenchError: that is not so within ``patience_s``, or the client has ended.
        """
        key = KEYS[len(self._typed) % len(KEYS)]
        begun = time.perf_counter()
        self._terminal.write(key)
        self._typed += key
        while len(self._echoed) < len(self._typed):
            left = begun + patience_s - time.perf_counter()
            if left <= 0:
                raise BenchError(f"no echo within {patience_s:g} s")
            shown = self._terminal.read(min(left, 0.5))
            said = shown.translate(None, ALL_KEYS)
            self._said += said
            self._echoed += shown.translate(None, said)
        return time.perf_counter() - begun

    def losses(self) -> list[str]:
        """How what came back differs from what was typed."""
        if self._echoed == self._typed:
            return []
        return [f"of {len(self._typed)} keys {len(self._echoed)} came back, or not in order"]

    def disturbances(self) -> list[str]:
        """What was not as it should be, in a session that was open throughout."""
        found = self.troubles + self.losses()
        if self._said:
            found.append(f"was shown {self._said[-200:]!r}")
        if (connections := len(self.wiretap.recordings())) > 1:
            found.append(f"connected {connections} times")
        return [f"{self.name}: {what}" for what in found]


@dataclass
class Phase:
    """What users and servers went through."""

    name: str
    echoes: list[float] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Connects that came to nothing."""
    disturbed: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    """Bytes that each server took more than before, at most."""
    growth: dict[str, int] = field(default_factory=dict)
    """The same, when all was over."""
    leaked: dict[str, int] = field(default_factory=dict)
    """Descriptors."""
    returns: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    """How the attackers were received."""


class Users:
    """One who types, one who connects again and again, and some who only have sessions."""

    def __init__(self, host: Host, stack: ExitStack) -> None:
        names = ["typist", *(f"bystander {number + 1}" for number in range(BYSTANDERS))]
        self.persons = [Person(host.peer, name, stack) for name in names]
        self._host = host

    @contextmanager
    def busy(self, phase: Phase) -> Iterator[None]:
        """Have them at work; their figures go to ``phase``."""
        done = threading.Event()
        tasks = [
            threading.Thread(target=task, args=(phase, done))
            for task in (self._type, self._connect, self._watch)
        ]
        for task in tasks:
            task.start()
        try:
            yield
        finally:
            done.set()
            for task in tasks:
                task.join()
        for person in self.persons[1:]:
            try:
                for _ in range(20):
                    person.press()
            except BenchError as error:
                person.troubles.append(str(error))
        phase.disturbed = [what for person in self.persons for what in person.disturbances()]

    def _type(self, phase: Phase, done: threading.Event) -> None:
        typist = self.persons[0]
        while not typist.troubles and not done.wait(KEY_EVERY_S):
            try:
                phase.echoes.append(typist.press())
            except BenchError as error:
                typist.troubles.append(str(error))

    def _connect(self, phase: Phase, done: threading.Event) -> None:
        while True:
            try:
                phase.connects.append(connect(self._host.peer))
            except BenchError as error:
                phase.refused.append(str(error))
            if done.wait(CONNECT_EVERY_S):
                return

    def _watch(self, phase: Phase, done: threading.Event) -> None:
        before, servers, begun = self._host.usage(), self._host.servers(), time.monotonic()
        while not done.wait(0.5):
            for part, now in self._host.usage().items():
                grown = now.rss - before[part].rss if part in before else 0
                phase.peaks[part] = max(phase.peaks.get(part, 0), grown)
            for part, pid in list(servers.items()):
                if why := cause_of_death(pid):
                    phase.deaths.append(f"{part} {why} after {time.monotonic() - begun:.1f} s")
                    del servers[part]
