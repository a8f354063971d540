"""Find and end the keepers of one runtime directory: they outlive who started them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PATIENCE_S = 20.0


def keepers_in(runtime_dir: Path) -> list[int]:
    """The keepers that hold sessions there."""
    mark = f"TRIOET_RUNTIME_DIR={runtime_dir}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"\0keeper\0" in (process / "cmdline").read_bytes()
                and mark in (process / "environ").read_bytes()
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def end_keepers(runtime_dir: Path) -> None:
    """End them, and return when they have gone."""
    for pid in keepers_in(runtime_dir):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    while keepers_in(runtime_dir):
        assert time.monotonic() < deadline, "a keeper does not end"
        time.sleep(0.01)
