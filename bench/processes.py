"""What the kernel counts for processes, and how to leave none of them behind.

Read from /proc, so Linux only (proc(5)).
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_STATE, _PARENT, _TERMINAL, _UTIME, _STIME = 0, 1, 4, 11, 12
"""Positions in /proc/PID/stat, counted from after the command's name."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, and the same with shared pages divided among their users."""

    rss: int
    pss: int


def adopt_orphans() -> None:
    """Become the parent of whatever our children leave running (prctl(2)).

    So every daemon that a peer starts stays below us and can be found and ended.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(*roots: int) -> set[int]:
    """All living processes below ``roots``, and those of ``roots`` that live."""
    children: dict[int, list[int]] = {}
    alive = set()
    for pid, fields in _all_stats():
        if fields[_STATE] != "Z":
            alive.add(pid)
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found & alive


def with_environment(pids: Iterable[int], entry: bytes) -> set[int]:
    """Those of ``pids`` that were started with ``entry`` (NAME=value) in their environment."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def without_terminal(pids: Iterable[int]) -> set[int]:
    """Those of ``pids`` with no controlling terminal: no shell, and nothing a shell started."""
    return {pid for pid in pids if (fields := _stat(pid)) and fields[_TERMINAL] == "0"}


def command_line(pid: int) -> list[str]:
    """The argv of a process; empty when it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that ``pids`` have used so far, all threads."""
    used = [_stat(pid) for pid in pids]
    return sum(int(f[_UTIME]) + int(f[_STIME]) for f in used if f) / TICKS_PER_S


def wakeups(pids: Iterable[int]) -> dict[str, int]:
    """Context switches so far of each thread of ``pids``: each is a wake-up or a preemption."""
    counts: dict[str, int] = {}
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with suppress(OSError):
                counts[status.parent.name] = sum(
                    int(line.split()[1])
                    for line in status.read_text().splitlines()
                    if "ctxt_switches" in line
                )
    return counts


def memory(pids: Iterable[int]) -> Memory:
    """What ``pids`` hold together; the shared pages count in each one's RSS."""
    rss = pss = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Rss":
                    rss += int(rest.split()[0]) * 1024
                elif name == "Pss":
                    pss += int(rest.split()[0]) * 1024
    return Memory(rss, pss)


def end(pids: Iterable[int], patience_s: float = 3.0) -> None:
    """End processes: SIGTERM, and SIGKILL for those still there after ``patience_s``."""
    left = set(pids)
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while (left := {pid for pid in left if _alive(pid)}) and time.monotonic() < deadline:
        _reap(left)
        time.sleep(0.01)
    _signal(left, signal.SIGKILL)
    deadline = time.monotonic() + patience_s
    while (left := {pid for pid in left if _alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.01)


def end_all_descendants() -> None:
    """End whatever is still below this process, also what appears meanwhile."""
    for _ in range(5):
        left = descendants(os.getpid()) - {os.getpid()}
        if not left:
            break
        end(left)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL; what has ended already is no error."""
    _signal(pids, signal.SIGKILL)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap(pids: Iterable[int]) -> None:
    """Orphans that became ours wait for us; what is somebody else's child is no error."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _alive(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[_STATE] != "Z"


def _all_stats() -> list[tuple[int, list[str]]]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [(pid, fields) for pid in pids if (fields := _stat(pid))]


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()
