"""A real etserver behind a jumphost of ours: it cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from jumphosts import Journey, journey
from ptys import at_terminal
from real_et import ETSERVER, NEEDS_ET, EtServer
from trioet.demo.cutter import Cutter

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]

CUTS = 5


@pytest.fixture
def way_to_et(tmp_path: Path, runtime_dir: Path, free_tcp_port: int) -> Iterator[Journey]:
    with journey(tmp_path, runtime_dir, "a") as made:
        destination = made.destination
        (destination.sshd.bin / "trioet").unlink()
        server = EtServer(destination.sshd, runtime_dir, free_tcp_port)
        terminal = Path(ETSERVER or "").parent / "etterminal"
        destination.sshd.put_program(
            "etterminal", f'exec {terminal} --logdir={destination.runtime_dir} "$@"'
        )
        made.arguments = ["--serverfifo", str(server.fifo), "-p", str(server.port)]
        yield made
        server.process.kill()
        server.process.wait()


async def test_a_session_survives_cuts(way_to_et: Journey) -> None:
    async with trio.open_nursery() as nursery:
        cutter = Cutter(way_to_et.hosts["a"].start_router())
        near = await nursery.start(cutter.serve)
        command = way_to_et.connect("--jump", "a", "--jport", str(near))
        async with at_terminal(command, way_to_et.environment) as person:
            await person.run(b"stty -echo")
            for number in range(CUTS):
                await person.type(b"seq 20000; echo DO''NE\n")
                shown = b""
                while b"DONE" not in shown:
                    shown += await person.read_some()
                    if cutter.cuts == number and len(shown) > 30_000:
                        cutter.cut()
                lines = shown.replace(b"\r", b"").split(b"\n")
                assert [int(line) for line in lines if line.isdigit()] == list(range(1, 20001))
                person.seen = b""
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()
