"""Limits are those of a whole process: each test has one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trioet

SOURCE = str(Path(trioet.__file__).parents[1])
FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 400))"


def said(script: str) -> list[str]:
    """What a Python with few descriptors prints."""
    command = [sys.executable, "-c", f"{FEW}\n{script}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": SOURCE}, check=True
    )
    return done.stdout.split()


def test_the_process_may_have_all_and_a_program_has_what_is_usual() -> None:
    script = """
import os, time
from trioet.session import descriptors
from trioet.session.program import Program, spawn_on_pipes
descriptors.raise_limit()
program = Program("/bin/sh", ("sh", "-c", "read go; ulimit -Sn; ulimit -Hn"), {})
running = spawn_on_pipes(program)
os.write(running.stdin, b"\\n")
os.waitpid(running.pid, 0)
print(os.read(running.stdout, 100).decode())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], descriptors.for_tunnels())
"""
    assert said(script) == ["64", "400", "400", "300"]


def test_without_it_nothing_changes() -> None:
    script = """
import os
from trioet.session import descriptors
descriptors.give_usual_limit(os.getpid())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], descriptors.for_tunnels())
"""
    assert said(script) == ["64", "32"]
