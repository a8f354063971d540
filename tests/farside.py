"""A host to connect to: sshd, a private runtime directory, and trioet on its PATH."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trioet
from fixtures_sshd import Sshd
from keepers import end_keepers
from ports import free_ports

SOURCE = str(Path(trioet.__file__).parents[1])
PATIENCE_S = 60.0


class FarSide:
    """One machine with sshd and trioet; no router unless one is started."""

    def __init__(self, sshd: Sshd, runtime_dir: Path) -> None:
        self.sshd = sshd
        self.runtime_dir = runtime_dir
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(sshd.home),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "PYTHONPATH": SOURCE,
            "RES_OPTIONS": os.environ["RES_OPTIONS"],
            "TRIOET_RUNTIME_DIR": str(runtime_dir),
        }
        self._router: subprocess.Popen[bytes] | None = None
        for name in ("trioet", "etterminal"):
            self.install(name)

    def install(self, name: str) -> None:
        """Put `trioet`, or `etterminal`, on the far PATH."""
        module = "trioet.cli.main" if name == "trioet" else "trioet.cli.terminal"
        start = "main" if name == "trioet" else "etterminal"
        code = f"import sys; from {module} import {start}; sys.exit({start}())"
        command = shlex.join([sys.executable, "-c", code])
        names = shlex.quote(os.environ["RES_OPTIONS"])
        env = f"TRIOET_RUNTIME_DIR={self.runtime_dir} PYTHONPATH={SOURCE} RES_OPTIONS={names}"
        self.sshd.put_program(name, f'{env} exec {command} "$@"')

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line of a trioet command that is about it."""
        config = str(self.sshd.ssh_config_path)
        start = [sys.executable, "-m", "trioet.cli.main", name, "-F", config]
        return [*start, *arguments, self.sshd.host_alias]

    def connect(self, *arguments: str) -> list[str]:
        """The command line that connects to it."""
        *command, host = self.command("connect")
        if "--" in arguments:
            at = arguments.index("--")
            return [*command, *arguments[:at], host, *arguments[at:]]
        return [*command, *arguments, host]

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Connect without a terminal, and wait for the end."""
        return subprocess.run(
            self.connect(*arguments),
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=60,
            check=False,
        )

    def start_router(self, port: int = 0, *options: str) -> int:
        """Start `trioet serve`; return its port."""
        command = [
            sys.executable,
            "-m",
            "trioet.cli.main",
            "serve",
            "--bind",
            "127.0.0.1",
            *options,
        ]
        port = port or free_ports(1)[0]
        with open(self.runtime_dir / "router.log", "ab") as log:
            self._router = subprocess.Popen(
                [*command, "--port", str(port)], env=self.environment, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert self._router.poll() is None, self.router_log()
                time.sleep(0.01)
            else:
                return port
        raise AssertionError(self.router_log())

    @property
    def router_pid(self) -> int | None:
        """The process of the router, if one runs."""
        return self._router.pid if self._router is not None else None

    def stop_router(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the router, kindly or not; return its exit status."""
        assert self._router is not None
        self._router.send_signal(number)
        status = self._router.wait(PATIENCE_S)
        self._router = None
        return status

    def router_log(self) -> str:
        """What the router has logged so far."""
        return (self.runtime_dir / "router.log").read_text()

    def keeper_log(self) -> str:
        """What the keeper has logged so far."""
        return (self.runtime_dir / "keeper.log").read_text()

    def close(self) -> None:
        """End all that was started."""
        if self._router is not None:
            self.stop_router()
        end_keepers(self.runtime_dir)


@pytest.fixture
def far_side(sshd: Sshd, runtime_dir: Path) -> Iterator[FarSide]:
    """A host with sshd and trioet, and nothing else."""
    made = FarSide(sshd, runtime_dir)
    yield made
    made.close()
