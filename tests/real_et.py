"""The real Eternal Terminal 7.0 programs, where they are on PATH: the fixture ``etserver``, and
the command lines that lead to it and away from it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from farside import FarSide
from fixtures_sshd import Sshd
from ptys import Person

ET = shutil.which("et")
ETSERVER = shutil.which("etserver")

NEEDS_ET = pytest.mark.skipif(
    ET is None or ETSERVER is None, reason="needs Eternal Terminal's et and etserver on PATH"
)


class EtServer:
    """A real etserver, and a far side on whose PATH only its etterminal is."""

    def __init__(self, sshd: Sshd, directory: Path, port: int) -> None:
        assert ETSERVER is not None
        self.sshd = sshd
        self.port = port
        self.fifo = directory / "fifo"
        terminal = Path(ETSERVER).parent / "etterminal"
        sshd.put_program("etterminal", f'exec {terminal} --logdir={directory} "$@"')
        self.process = subprocess.Popen(
            [
                ETSERVER,
                f"--port={port}",
                "--bindip=127.0.0.1",
                f"--serverfifo={self.fifo}",
                f"--logdir={directory}",
                "--telemetry=false",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self.fifo.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def etserver(sshd: Sshd, runtime_dir: Path, free_tcp_port: int) -> Iterator[EtServer]:
    made = EtServer(sshd, runtime_dir, free_tcp_port)
    yield made
    made.process.send_signal(signal.SIGKILL)
    made.process.wait()


def trioet_to_et(far: FarSide, server: EtServer, *arguments: str) -> list[str]:
    far.sshd.bin.joinpath("trioet").unlink(missing_ok=True)
    terminal = Path(ETSERVER or "").parent / "etterminal"
    far.sshd.put_program("etterminal", f'exec {terminal} --logdir={far.runtime_dir} "$@"')
    return far.connect("--via", "direct", "--serverfifo", str(server.fifo), *arguments)


def et_to_trioet(far: FarSide, port: int, *arguments: str) -> list[str]:
    """Real `et`, which knows no -F: what it and its ssh need is on the command line."""
    assert ET is not None
    host = f"127.0.0.1:{port}"
    ssh = ["--ssh-option", f"Port={far.sshd.port}"]
    files = far.sshd.directory
    ssh += ["--ssh-option", f"IdentityFile={files}/user_key"]
    ssh += ["--ssh-option", f"UserKnownHostsFile={files}/known_hosts"]
    return [ET, "--telemetry=false", f"--logdir={far.runtime_dir}", *ssh, *arguments, host]


async def see_prompt(person: Person) -> None:
    """`et` drops what was typed before it set the terminal raw."""
    with trio.fail_after(20):
        while not person.seen.rstrip().endswith((b"#", b"$")):
            await person.read_some()
