"""What stands between a client and a backend: goscon, trioet in its place, haproxy, nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from bench import processes
from bench.place import PROJECT, free_port
from bench.scon_client import Plain, Scp
from bench.sshd import wait_listening

REUSE_S: Final = 5
"""How long sessions of clients that went away are kept, instead of 30 s, by all that keep any."""

MANY: Final = 20_000
"""Connections of a crowd's proxy: two for each session."""
OTHERS: Final = 100
"""Other files that it has open."""


class SconPeer:
    """One way to the backends. Made, then started; stopped with all it left running."""

    name: str
    title: str
    programs: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    resumes = True
    """Whether it speaks SCP, and so keeps sessions."""

    def __init__(self, place: Path, backends: dict[str, int]) -> None:
        self.place = place
        self.backends = backends
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        """What is measured, for the notes."""
        return self.title

    def start(self) -> None:
        """
        Raises:
          BenchError: it does not.
        """
        log = self.place / f"scon-{self.name}.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self.argv(),
                env=self._environment(),
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_listening(self.port, self._process, self.title, log)

    def argv(self) -> list[str]:
        """The command that serves at :attr:`port`."""
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECT / "src"),
            "PYTHONPYCACHEPREFIX": str(self.place / "pycache"),
            "TRIOET_RUNTIME_DIR": str(self.place),
        }

    def open(self, backend: str) -> Plain:
        """A session with a backend.

        Raises:
          BenchError, OSError, HandshakeError: there is none.
        """
        return Scp(self.port, backend.encode())

    @contextmanager
    def afresh(self) -> Iterator[Self]:
        """The same once more, in processes that have done nothing yet; ended afterwards.

        Raises:
          BenchError: it does not start.
        """
        other = type(self)(self.place, self.backends)
        try:
            other.start()
            yield other
        finally:
            other.stop()

    def processes(self) -> set[int]:
        """Those that serve; none if nothing stands there."""
        return processes.descendants(self._process.pid) if self._process else set()

    def stop(self) -> None:
        """End them."""
        processes.end(self.processes())
        if self._process:
            self._process.wait()

    def _first_line(self, *command: str) -> str:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        return (said.stdout or said.stderr).partition("\n")[0]


class Direct(SconPeer):
    """Nothing between: what the driver and the backends can do."""

    name, title = "direct", "direct"
    resumes = False

    def start(self) -> None:
        pass

    def open(self, backend: str) -> Plain:
        return Plain(self.backends[backend])


class Haproxy(SconPeer):
    """A proxy of bytes in C, on as many threads as there are processors: nothing is resumed."""

    name, title = "haproxy", "haproxy (no resume)"
    programs = ("haproxy",)
    resumes = False

    def __init__(self, place: Path, backends: dict[str, int]) -> None:
        super().__init__(place, backends)
        self._ports = {name: free_port() for name in backends}
        self.port = next(iter(self._ports.values()))

    def version(self) -> str:
        return self._first_line("haproxy", "-v")

    def argv(self) -> list[str]:
        listens = "".join(
            f"listen {name}\n  bind 127.0.0.1:{self._ports[name]}\n  server one 127.0.0.1:{port}\n"
            for name, port in self.backends.items()
        )
        config = self.place / "haproxy.cfg"
        config.write_text(
            f"global\n  maxconn {MANY // 2 - OTHERS}\n"
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n"
            f"  timeout server 1h\n{listens}"
        )
        return ["haproxy", "-db", "-q", "-f", str(config)]

    def open(self, backend: str) -> Plain:
        return Plain(self._ports[backend])


class Goscon(SconPeer):
    name, title = "goscon", "goscon"
    programs = ("goscon",)

    def version(self) -> str:
        return self._first_line("goscon", "-version")

    def argv(self) -> list[str]:
        hosts = "".join(
            f'  - {{name: {name}, addr: "127.0.0.1:{port}", weight: 100}}\n'
            for name, port in self.backends.items()
        )
        config = self.place / "goscon.yaml"
        config.write_text(
            f'manager: ""\ntcp: 127.0.0.1:{self.port}\nkcp: ""\nscp: {{reuse_time: {REUSE_S}}}\n'
            f"upstream_option: {{net: tcp}}\nhosts:\n{hosts}"
        )
        logs = self.place / "goscon-logs"
        logs.mkdir(exist_ok=True)
        return ["goscon", "-config", str(config), "-log_dir", str(logs)]


class TrioetScon(SconPeer):
    """trioet from this checkout."""

    name, title = "scon", "trioet scon"
    workers = 1

    def version(self) -> str:
        return f"trioet scon serve of this checkout, workers = {self.workers}"

    def argv(self) -> list[str]:
        hosts = "".join(
            f'[[hosts]]\nname = "{name}"\naddr = "127.0.0.1:{port}"\n'
            for name, port in self.backends.items()
        )
        config = self.place / f"{self.name}.toml"
        config.write_text(
            f'manager = ""\ntcp = "127.0.0.1:{self.port}"\nscp.reuse_time = {REUSE_S}\n{hosts}'
        )
        command = [sys.executable, "-m", "trioet.cli.main", "scon", "serve"]
        return [*command, "--config", str(config), "--workers", str(self.workers)]


class TrioetScon2(TrioetScon):
    name, title = "scon2", "trioet scon, 2 workers"
    workers = 2


SCON_PEERS: Final[tuple[type[SconPeer], ...]] = (
    TrioetScon, TrioetScon2, Goscon, Haproxy, Direct
)  # fmt: skip


def missing_scon_programs(peer: type[SconPeer]) -> list[str]:
    """The programs that ``peer`` needs and that are not on PATH."""
    return [name for name in peer.programs if not shutil.which(name)]
