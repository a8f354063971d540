"""Networks of a test's own, in namespaces of the kernel: the fixture ``network``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Network:
    """A network of two: ours is 192.0.2.2, theirs 192.0.2.1, and what goes to .3 vanishes.

    Each command line is what to begin another with, to run it there.
    """

    ours: list[str]
    theirs: list[str]

    def swallow_large_packets(self) -> None:
        """From ours to theirs, without a word, as a tunnel behind a zealous firewall does."""
        _run(self.ours, "ip link set near gso_max_segs 1")  # or the kernel cuts them too late
        _run(self.theirs, "ip link set far mtu 1000")
        _run(self.theirs, "ip route change 192.0.2.0/24 dev far src 192.0.2.1 advmss 1460")


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
        pytest.skip("needs root, iproute2 and nsenter to make networks")
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(_namespace()) for _ in range(2)]
        ours, theirs = (["nsenter", "-n", "-t", str(pid)] for pid in pids)
        _run(ours, "ip link set lo up")
        _run(ours, f"ip link add near type veth peer name far netns {pids[1]}")
        _run(ours, "ip addr add 192.0.2.2/24 dev near")
        _run(ours, "ip link set near up")
        _run(ours, "ip neigh add 192.0.2.3 lladdr 02:00:00:00:00:03 dev near nud permanent")
        _run(theirs, "ip link set lo up")
        _run(theirs, "ip addr add 192.0.2.1/24 dev far")
        _run(theirs, "ip link set far up")
        yield Network(ours, theirs)


def _run(where: list[str], command: str) -> None:
    subprocess.run([*where, *command.split()], check=True)


@contextlib.contextmanager
def _namespace() -> Iterator[int]:
    """A network namespace; yields a process in it, which ends with it."""
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        if holder.stdout.readline() != b"\n":
            pytest.skip("network namespaces cannot be made here")
        yield holder.pid
        holder.stdin.close()
