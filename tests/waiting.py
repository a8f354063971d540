"""Wait for what real processes and sockets bring about, which send no events."""

from __future__ import annotations

from collections.abc import Callable

import trio

PATIENCE_S = 60.0


async def until(happened: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Look again and again until ``happened``; fail when it does not in good time."""
    with trio.fail_after(patience_s):
        while not happened():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.002)
