"""Stock ssh on its way through `trioet pipe`, and a network between that is cut."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import trio

from farside import FarSide
from fixtures_sshd import Sshd, running_sshd
from trioet.demo.cutter import Cutter
from waiting import until

PATIENCE_S: Final = 120.0


@dataclass
class Piped:
    """A machine whose ssh configuration says ``ProxyCommand trioet pipe`` of a host."""

    far_side: FarSide
    ssh_config: Path
    arguments: tuple[str, ...]

    @property
    def environment(self) -> Mapping[str, str]:
        return {**self.far_side.environment, "GIT_SSH_COMMAND": shlex.join(self.ssh)}

    @property
    def ssh(self) -> list[str]:
        """The command line of ssh, as far as to the host."""
        return ["ssh", "-F", str(self.ssh_config)]

    @property
    def pipe(self) -> list[str]:
        """The command line of `trioet pipe`, as far as to the place."""
        return [sys.executable, "-m", "trioet.cli.main", "pipe", *self.arguments]

    def run(self, command: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run something here, and wait for its end."""
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start something here, with pipes to all its streams."""
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment)

    async def run_beside(self, command: list[str]) -> None:
        """Run something here that must succeed and say nothing on stderr."""
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False, env=self.environment
            )
        assert (done.returncode, done.stderr) == (0, b""), done


def piped(
    far_side: FarSide,
    *options: str,
    host: str = "farside",
    place: str = "%n:%p",
    words: Mapping[str, str] | None = None,
) -> Piped:
    """Have ssh go to ``host`` by a pipe with these options, to ``place``. ``words`` are further
    ones of that host's configuration, which the pipe's own ssh reads as well."""
    sshd = far_side.sshd
    config = sshd.directory / "piped_config"
    made = Piped(far_side, config, ("-F", str(config), *options))
    lines = [
        f"Host {host}",
        f"  ProxyCommand {shlex.join(made.pipe)} {place}",
        *(f"  {word} {value}" for word, value in (words or {}).items()),
        "Host *",
        f"  Include {sshd.ssh_config_path}",
    ]
    config.write_text("\n".join([*lines, ""]))
    return made


@dataclass
class Cut:
    """A pipe through a network that the test cuts."""

    host: Piped
    cutter: Cutter

    async def cut_every(self, amount: int, cuts: int) -> None:
        """Cut after each so many bytes that the network has carried, so often."""
        for _ in range(cuts):
            await self.cutter.wait_relayed(amount)
            await self._cut()

    async def _cut(self) -> None:
        """Cut, as soon as there is a connection."""
        before = self.cutter.cuts

        def has_cut() -> bool:
            self.cutter.cut()
            return self.cutter.cuts > before

        await until(has_cut, PATIENCE_S)

    async def survives(self, command: list[str], *, cuts: int, every: int) -> None:
        """Run something that must succeed though the network is cut so often meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.cut_every, every, cuts)
            with trio.fail_after(PATIENCE_S):
                await self.host.run_beside(command)
            done = self.cutter.cuts
            nursery.cancel_scope.cancel()
        assert done >= cuts


@asynccontextmanager
async def cut_pipe(far_side: FarSide, words: Mapping[str, str] | None = None) -> AsyncIterator[Cut]:
    """A pipe whose connections to the router can be cut."""
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        host = piped(far_side, "--way", "direct", "-p", str(near), words=words)
        yield Cut(host, cutter)
        nursery.cancel_scope.cancel()


@pytest.fixture
def inner(tmp_path: Path, far_side: FarSide) -> Iterator[Sshd]:
    """A second sshd, that has no trioet: ``ssh inner`` gets there, with the keys of the first."""
    with running_sshd(tmp_path / "inner", "inner") as server:
        config = far_side.sshd.ssh_config_path
        config.write_text(config.read_text() + server.ssh_config_path.read_text())
        yield server
