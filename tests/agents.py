"""A real ssh-agent of a test's own: the fixture ``agent``."""

from __future__ import annotations

import os
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


@pytest.fixture
def agent(sshd: Sshd, runtime_dir: Path) -> Iterator[Agent]:
    """A real ssh-agent, ended with the test."""
    path = runtime_dir / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            assert process.poll() is None
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        key = sshd.user_key_path
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        listed = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, check=True)
        yield Agent(path, listed.stdout.split()[1])
    finally:
        process.terminate()
        process.wait()
