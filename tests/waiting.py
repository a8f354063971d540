"""Wait for what real processes and sockets bring about, which send no events."""

from __future__ import annotations

from collections.abc import Callable

import trio

PATIENCE_S = 10.0


async def until(happened: Callable[[], object]) -> None:
    """Look again and again until ``happened``; fail when it does not in good time."""
    with trio.fail_after(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.002)
