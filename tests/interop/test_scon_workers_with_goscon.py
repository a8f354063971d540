"""goscon's own client against `trioet scon serve`: several workers, and a restart."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from scon_serving import PATIENCE_S, Serve, echo, serving
from waiting import until

CLIENT = shutil.which("goscon-client")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not CLIENT, reason="needs goscon-client on PATH"),
]


@pytest.fixture
async def serve(runtime_dir: Path) -> AsyncIterator[Serve]:
    async with serving(runtime_dir) as made:
        yield made


async def load(serve: Serve, *options: str) -> None:
    """Sessions of the real client, each resumed five times; all that it says must come back."""
    assert CLIENT is not None
    command = [CLIENT, "-connect", f"127.0.0.1:{serve.port}", "-targetServer", "echo"]
    with trio.fail_after(PATIENCE_S):
        done = await trio.run_process(
            [*command, "-reuse", "5", *options], cwd=serve.place, capture_stderr=True
        )
    assert b"error" not in done.stderr.lower(), done.stderr


async def test_its_sessions_are_resumed_whichever_worker_they_meet(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=3)
        await serve.start()

        await load(serve, "-concurrent", "20", "-packets", "60", "-pps", "500")

        assert await serve.figure("trioet_scon_sessions_begun_total") == 20
        assert await serve.figure("goscon_connection_reuses") == 100
        assert await serve.figure("goscon_handshake_errors") == 0
        assert await serve.figure("trioet_scon_handed_over_total") > 20


async def test_its_sessions_outlive_a_restart(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=2)
        await serve.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, serve, "-concurrent", "10", "-packets", "300", "-pps", "100")
            with trio.fail_after(PATIENCE_S):
                while await serve.figure("trioet_scon_sessions") < 10:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            serve.signal(signal.SIGUSR2)
        await until(lambda: "serves now" in serve.log, PATIENCE_S)
        heir = int(serve.log.partition("INFO process ")[2].split()[0])
        os.kill(heir, signal.SIGTERM)
