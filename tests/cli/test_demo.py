"""`trioet demo` where its stage cannot stand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def test_a_home_that_everybody_can_write_beside_is_refused_in_words() -> None:
    unset = {"TRIOET_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": ""}
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        done = subprocess.run(
            [sys.executable, "-m", "trioet.cli.main", "demo", "--selftest"],
            env={**os.environ, **unset, "HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 255
    assert "no sockets in /tmp; use /run or a private directory" in done.stderr
    assert "Traceback" not in done.stderr
