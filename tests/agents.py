"""A real ssh-agent of a test's own: the fixture ``agent``."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures_sshd import Sshd


@dataclass(frozen=True)
class Agent:
    """A running ssh-agent that knows one key: the one that the far side's sshd accepts."""

    socket: Path
    fingerprint: bytes


def _listens(path: Path) -> bool:
    """It is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def agent(sshd: Sshd, runtime_dir: Path) -> Iterator[Agent]:
    """A real ssh-agent, ended with the test."""
    path = runtime_dir / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not _listens(path):
            assert process.poll() is None
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        key = sshd.user_key_path
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        listed = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, check=True)
        yield Agent(path, listed.stdout.split()[1])
    finally:
        process.terminate()
        process.wait()
