"""Show a session in `who`, where that is permitted.

Writing utmp needs a privilege that a keeper does not have. Systems that want ordinary
programs to record logins install libutempter's helper, which has it; where there is none,
nothing is recorded.
"""

from __future__ import annotations

import glob
import os
import subprocess
from typing import Final

import trio

HELPERS: Final = (
    "/usr/libexec/utempter/utempter",
    "/usr/lib/utempter/utempter",
    "/usr/lib/*-linux-gnu/utempter/utempter",
)
PATIENCE_S: Final = 2.0


async def record_login(master: int) -> None:
    """Keep a utmp entry for the pty ``master`` until cancelled.

    Cancellation removes the entry, in at most PATIENCE_S. Returns at once where there is
    no helper.
    """
    helper = _find_helper()
    if helper is None:
        return
    await _call(helper, master, "add", f"trioet [{os.getpid()}]")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await _call(helper, master, "del")


async def _call(helper: str, master: int, *arguments: str) -> None:
    with trio.move_on_after(PATIENCE_S):
        await trio.run_process(
            [helper, *arguments],
            stdin=master,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def _find_helper() -> str | None:
    for pattern in HELPERS:
        for path in glob.glob(pattern):
            if os.access(path, os.X_OK):
                return path
    return None
