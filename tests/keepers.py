"""Find and end the keepers of one runtime directory: they outlive who started them."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

PATIENCE_S = 60.0


def keepers_in(runtime_dir: Path) -> list[int]:
    """The keepers that hold sessions there, by what they logged: nobody can look into them."""
    try:
        log = (runtime_dir / "keeper.log").read_text()
    except FileNotFoundError:
        return []
    started = {int(pid) for pid in re.findall(r"keeper (\d+) of trioet", log)}
    return [pid for pid in started if b"\0keeper\0" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def end_keepers(runtime_dir: Path) -> None:
    """End them, and return when they have gone."""
    for pid in keepers_in(runtime_dir):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while keepers_in(runtime_dir):
        assert time.monotonic() < deadline, "a keeper does not end"
        time.sleep(0.01)
