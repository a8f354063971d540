"""The page's sources, and what it is built into; node, which runs the first."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src/trioet/web/page"


def skip_or_fail(why: str) -> None:
    """What CI has installed is there: a skip would hide that it is not."""
    if "CI" in os.environ:
        pytest.fail(why)
    pytest.skip(why)


def node() -> str:
    """The program, where it can run the page's modules."""
    found = shutil.which("node")
    if found is None or not (SOURCES / "node_modules").is_dir():
        skip_or_fail(f"needs node, and its packages: npm ci in {SOURCES}")
    assert found is not None
    return found


def run_node(*arguments: str, timeout: float = 120) -> str:
    """Run it to its end; return what it printed."""
    done = subprocess.run(
        [node(), *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
