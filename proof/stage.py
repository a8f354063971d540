"""Real programs on one machine: `trioet serve`, keepers, and clients that reach them.

Only ssh is not real: it is no part of what is to be proven, and an sshd would refuse fifty
logins at once. A script of that name runs the far command here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket as sockets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trioet

PROJECT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = Path(trioet.__file__).resolve().parents[1]
TRIOET: Final = (sys.executable, "-P", "-m", "trioet.cli.main")
HOST: Final = "proof"
START_S: Final = 20.0


@dataclass(frozen=True)
class Figures:
    """What a process takes."""

    rss: int
    """Bytes of memory."""
    descriptors: int


def figures(pid: int) -> Figures | None:
    """Measure a process; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        # Linux 6.2 says how many; the keeper lets nobody but root look at them.
        descriptors = os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return Figures(int(found[1]) * 1024, descriptors) if found else None


class Stage:
    """One user's machine, with a router that can be ended in any way."""

    def __init__(
        self,
        place: Path,
        *,
        inside: Sequence[str] = (),
        bind: str = "127.0.0.1",
        socket: Path | None = None,
    ) -> None:
        self.place = place
        self.router: subprocess.Popen[bytes] | None = None
        self.router_starts = 0
        self._inside = inside
        self._socket = socket or place / "router.sock"
        self._bind = bind
        self._bin = place / "bin"
        self._bin.mkdir()
        self.environment = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(place),
            "TERM": "xterm",
            "SHELL": "/bin/sh",
            "PYTHONPATH": f"{SOURCE}:{PROJECT}",
            "TRIOET_RUNTIME_DIR": str(place),
        }
        self.port = _free_port()
        far = shlex.join([*inside, "sh", "-c"])
        self._put("trioet", f'exec {shlex.join(TRIOET)} "$@"')
        settings = f"hostname {bind}\\nport 22\\nrequesttty force\\n"
        self._put(
            "ssh",
            f"for word; do\n"
            f'  [ "$word" = -G ] && printf "{settings}" && exit\n'
            f"  command=$word\n"
            f"done\n"
            f'exec {far} "$command"',
        )

    def _put(self, name: str, script: str) -> None:
        program = self._bin / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)

    # The router

    def start_router(self) -> None:
        """Start `trioet serve` at :attr:`port`; return when it listens."""
        command = [*self._inside, *TRIOET, "serve", "--bind", self._bind]
        command += ["--socket", str(self._socket)]
        with open(self.place / "router.log", "ab") as log:
            self.router = subprocess.Popen(
                [*command, "--port", str(self.port)], env=self.environment, stderr=log
            )
        self.router_starts += 1
        deadline = time.monotonic() + START_S
        while not _listens(self._socket):
            if self.router.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.place / "router.log").read_text())
            time.sleep(0.02)

    def end_router(self, number: signal.Signals) -> None:
        """End the router, kindly or not."""
        assert self.router is not None
        self.router.send_signal(number)
        self.router.wait(START_S)
        self.router = None

    # Others

    def client(self, port: int, *command: str) -> list[str]:
        """A client that connects to ``port``, and runs a command on a far terminal."""
        options = ["--via", "direct", "-p", str(port), "-k", "2", "--escape", "none"]
        return [*TRIOET, "connect", *options, HOST, "--", shlex.join(command)]

    def keepers(self) -> list[int]:
        """Processes of the keepers that were started here."""
        try:
            log = (self.place / "keeper.log").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in re.findall(r"keeper (\d+) of trioet", log)]

    def close(self) -> None:
        """End everything."""
        if self.router is not None:
            self.end_router(signal.SIGTERM)
        for pid in self.keepers():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue


@contextmanager
def open_stage(
    *, inside: Sequence[str] = (), bind: str = "127.0.0.1", socket: Path | None = None
) -> Iterator[Stage]:
    """A stage with a router; gone afterwards, with every process and file.

    ``inside`` is a command that runs others where the server is to be, ``socket`` where
    keepers register, if not in the user's own place.
    """
    parent = "/dev/shm" if os.path.isdir("/dev/shm") else Path.home()
    place = Path(tempfile.mkdtemp(prefix="proof-", dir=parent))
    stage = Stage(place, inside=inside, bind=bind, socket=socket)
    try:
        stage.start_router()
        yield stage
    finally:
        stage.close()
        shutil.rmtree(place, ignore_errors=True)


def be_ended_by_sigterm() -> None:
    """Have SIGTERM end this program as Ctrl-C does: with all that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def _free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(str(path)) == 0
