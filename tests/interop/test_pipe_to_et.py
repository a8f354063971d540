"""A pipe to a real Eternal Terminal server: ssh's stream, which needs no half-close."""

from __future__ import annotations

from pathlib import Path

import pytest

from farside import FarSide
from piping import piped
from real_et import ETSERVER, NEEDS_ET, EtServer

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]


@pytest.fixture
def options(far_side: FarSide, etserver: EtServer) -> tuple[str, ...]:
    """Of a pipe to the server; only ET's terminal is there."""
    far_side.sshd.bin.joinpath("trioet").unlink()
    terminal = Path(ETSERVER or "").parent / "etterminal"
    far_side.sshd.put_program("etterminal", f'exec {terminal} --logdir={far_side.runtime_dir} "$@"')
    return ("--way", "direct", "--serverfifo", str(etserver.fifo), "-p", str(etserver.port))


def test_ssh_goes_through_a_pipe_to_the_host_itself(
    far_side: FarSide, options: tuple[str, ...]
) -> None:
    host = piped(far_side, *options)
    data = bytes(range(256)) * 4000
    done = host.run([*host.ssh, "farside", "cat; exit 3"], data)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"")


def test_what_it_cannot_connect_to_is_told(far_side: FarSide, options: tuple[str, ...]) -> None:
    host = piped(far_side, *options)
    done = host.run([*host.pipe, "--via", "farside", "db.example.com:5432"])
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"connects to nothing but its own localhost, not to db.example.com" in done.stderr
