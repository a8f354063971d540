"""The server under siege: its processes, and what they take."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import processes
from bench.peers import Peer

QUIET_FOR_S: Final = 2.0


class Host:
    """A machine with one peer's server on it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def servers(self) -> dict[str, int]:
        """The processes under siege, by their part."""
        found = {}
        for pid in processes.descendants(os.getpid()):
            argv = processes.command_line(pid)
            for part, word in (("router", "serve"), ("keeper", "keeper")):
                if self.peer.name == "trioet" and word in argv[1:5]:
                    found[part] = pid
            if argv and Path(argv[0]).name == "etserver":
                found["etserver"] = pid
        return found

    def usage(self) -> dict[str, Usage]:
        """What each of them takes."""
        used = {part: usage(pid) for part, pid in self.servers().items()}
        return {part: now for part, now in used.items() if now is not None}

    def settled(self) -> dict[str, Usage]:
        """The same, once no descriptor has come or gone for QUIET_FOR_S."""
        last, since = self.usage(), time.monotonic()
        while time.monotonic() < since + QUIET_FOR_S:
            time.sleep(0.1)
            now = self.usage()
            if descriptors(now) != descriptors(last):
                since = time.monotonic()
            last = now
        return last

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self.peer.place / f"{self.peer.name}-server.log").read_text(errors="replace")

    def local_sockets(self) -> tuple[str, str]:
        """Where keepers register, and where `trioet terminal` asks; empty for others."""
        if self.peer.name != "trioet":
            return "", ""
        run = self.peer.place / "run"
        return str(run / "router.sock"), str(run / "keeper.sock")


@dataclass(frozen=True)
class Usage:
    """What a process takes."""

    rss: int
    descriptors: int


def usage(pid: int) -> Usage | None:
    """Measure a process; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        # Linux 6.2 says how many; the keeper lets nobody but root look at them.
        descriptors = os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return Usage(int(line.split()[1]) * 1024, descriptors)
    return None


def descriptors(used: dict[str, Usage]) -> dict[str, int]:
    """Of each process."""
    return {part: now.descriptors for part, now in used.items()}


def cause_of_death(pid: int) -> str:
    """How a process has ended; empty if it lives."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return "" if Path(f"/proc/{pid}").exists() else "ended"
    if ended is None:
        return ""
    if ended.si_code == os.CLD_EXITED:
        return f"ended with status {ended.si_status}"
    return f"killed by {signal.Signals(ended.si_status).name}"
