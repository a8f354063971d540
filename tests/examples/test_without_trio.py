"""Who embeds trioet.wire: through a network that cuts, and in under 100 lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from eternals import PSK, cut_often, echo, net

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["sockets.py", "with_asyncio.py"])
async def test_lines_come_back_whole_and_in_order(name: str) -> None:
    lines = b"".join(b"line %d %s\n" % (number, b"x" * (number % 900)) for number in range(4000))
    async with net(echo) as made:
        command = [sys.executable, str(EXAMPLES / name), "127.0.0.1", str(made.port)]
        async with cut_often(made.cutter, 200_000):
            done = await trio.run_process(
                command,
                stdin=lines,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                env={**os.environ, "TRIOET_PSK": PSK.decode()},
            )

        assert done.stdout == lines
        assert made.cutter.cuts > 1
        assert made.server.statistics().opened == 1


@pytest.mark.parametrize("name", ["sockets.py", "with_asyncio.py"])
def test_it_is_short_and_without_trio(name: str) -> None:
    source = (EXAMPLES / name).read_text()
    assert len(source.splitlines()) < 100
    assert "import trio\n" not in source
    assert "trioet.link" not in source
