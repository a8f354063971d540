"""The programs compared, each with its private servers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from bench import processes
from bench.place import PROJECT, free_port, user
from bench.sshd import Sshd, wait_listening

HOST: Final = "127.0.0.1"
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
MARK: Final = "TRIOET_BENCH_PEER"
LOCALE: Final = "C.UTF-8"


class Peer(ABC):
    """One way to a remote shell. Made, then started; stopped with all it left running."""

    name: str
    title: str
    programs: tuple[str, ...] = ()
    """What it needs on PATH besides ssh and sshd."""
    reconnects: bool = False
    """Whether it connects through a TCP port that a proxy of ours can stand before."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._sshd = Sshd(place, self.name, self.far_environment())

    def far_environment(self) -> dict[str, str]:
        """What the far side has in its environment besides what a login sets."""
        return {
            "PATH": self.far_path(),
            "LANG": LOCALE,
            "HISTFILE": "/dev/null",
            MARK: self.name,
        }

    def far_path(self) -> str:
        return f"{_here()}:{SYSTEM_PATH}"

    def near_environment(self) -> dict[str, str]:
        """What the client is started with: the same for all, and little of ours."""
        return {
            "PATH": f"{_here()}:{SYSTEM_PATH}",
            "HOME": str(Path.home()),
            "USER": user(),
            "SHELL": os.environ.get("SHELL", "/bin/sh"),
            "TERM": "xterm-256color",
            "LANG": LOCALE,
        }

    def start(self) -> None:
        """Start the servers.

        Raises:
          BenchError: one of them does not start.
        """
        self._sshd.start()
        assert self._sshd.process is not None
        self._daemons.append(self._sshd.process)

    @abstractmethod
    def argv(self, port: int | None = None) -> list[str]:
        """The command that opens a session; through ``port`` instead of its server's own."""

    @property
    def server_port(self) -> int:
        """Where the client's lasting connection goes."""
        return self._sshd.port

    def server_processes(self) -> set[int]:
        """What runs on the far side, without the shells and what they run."""
        below = processes.descendants(*(daemon.pid for daemon in self._daemons))
        return processes.without_terminal(below | self._marked())

    def _marked(self) -> set[int]:
        ours = processes.descendants(os.getpid())
        return processes.with_environment(ours, f"{MARK}={self.name}".encode())

    def client_processes(self, client: int) -> set[int]:
        """What runs on the near side, the client having been started as ``client``."""
        return processes.descendants(client)

    def kept_processes(self) -> set[int]:
        """What stays on the far side between sessions and makes the later ones start sooner."""
        return set()

    def end_shells(self) -> None:
        """Kill what runs in sessions: so a session ends at both its ends, and for good.

        ET and trioet would keep one whose client merely went away.
        """
        marked = self._marked()
        processes.kill(marked - processes.without_terminal(marked))

    def stop(self) -> None:
        """End the servers and everything that descends from them."""
        self.end_shells()
        processes.end(self.server_processes())
        for daemon in self._daemons:
            daemon.wait()


class Ssh(Peer):
    name, title = "ssh", "ssh -tt"

    def argv(self, port: int | None = None) -> list[str]:
        return ["ssh", "-tt", *_options("-o", self._sshd), f"{user()}@{HOST}"]


class Mosh(Peer):
    """mosh, told not to guess: guessed echo says nothing about the way to the server."""

    name, title = "mosh", "mosh"
    programs = ("mosh", "mosh-server")

    def argv(self, port: int | None = None) -> list[str]:
        ssh = " ".join(["ssh", *_options("-o", self._sshd)])
        return ["mosh", "--predict=never", f"--ssh={ssh}", f"{user()}@{HOST}"]


class EternalTerminal(Peer):
    name, title = "et", "ET"
    programs = ("et", "etserver", "etterminal")
    reconnects = True

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._port = free_port()
        self._fifo = place / "etserver.fifo"
        self._logs = place / "et-logs"
        self._logs.mkdir()
        self._bin = Path(shutil.which("et") or "").parent

    def near_environment(self) -> dict[str, str]:
        return {**super().near_environment(), "ET_NO_TELEMETRY": "1"}

    def start(self) -> None:
        super().start()
        command = [str(self._bin / "etserver"), "--port", str(self._port), "--bindip", HOST]
        command += ["--serverfifo", str(self._fifo), "--logdir", str(self._logs)]
        environment = {**self.near_environment(), **self.far_environment()}
        daemon = _daemon([*command, "--telemetry", "false"], environment, self._logs / "etserver")
        self._daemons.append(daemon)
        wait_listening(self._port, daemon, "etserver")

    @property
    def server_port(self) -> int:
        return self._port

    def argv(self, port: int | None = None) -> list[str]:
        # By its path, since trioet has an etterminal too. Only so can it be told where to
        # log; its default is /tmp.
        far = f"{self._bin}/etterminal --logdir={self._logs}"
        return [
            "et", "--telemetry", "false", "--logdir", str(self._logs),
            "--serverfifo", str(self._fifo), "--terminal-path", far,
            *_options("--ssh-option", self._sshd),
            f"{user()}@{HOST}:{port or self._port}",
        ]  # fmt: skip


class Trioet(Peer):
    """trioet from this checkout or environment, whatever `import trioet` finds."""

    name, title = "trioet", "trioet"
    reconnects = True

    def __init__(self, place: Path) -> None:
        self._bin = place / "bin"
        self._runtime = place / "run"
        self._port = free_port()
        super().__init__(place)
        for directory in (self._bin, self._runtime):
            directory.mkdir(mode=0o700)
        self._python = {
            "PYTHONPATH": str(PROJECT / "src"),
            # Installed programs are compiled already; without this a checkout might not be.
            "PYTHONPYCACHEPREFIX": str(place / "pycache"),
        }
        settings = " ".join(f"{name}={value}" for name, value in self._python.items())
        for name, command in (("trioet", "main"), ("etterminal", "main terminal")):
            wrapper = self._bin / name
            line = f'exec env {settings} {sys.executable} -m trioet.cli.{command} "$@"'
            wrapper.write_text(f"#!/bin/sh\n{line}\n")
            wrapper.chmod(0o755)

    def far_path(self) -> str:
        return f"{self._bin}:{super().far_path()}"

    def far_environment(self) -> dict[str, str]:
        return {**super().far_environment(), "TRIOET_RUNTIME_DIR": str(self._runtime)}

    def near_environment(self) -> dict[str, str]:
        return {**super().near_environment(), **self._python}

    def start(self) -> None:
        super().start()
        command = [sys.executable, "-m", "trioet.cli.main", "serve", "--bind", HOST]
        command += ["--port", str(self._port), "--socket", str(self._runtime / "router.sock")]
        environment = {**self.near_environment(), **self.far_environment()}
        daemon = _daemon(command, environment, self.place / "serve.log")
        self._daemons.append(daemon)
        wait_listening(self._port, daemon, "trioet serve")

    @property
    def server_port(self) -> int:
        return self._port

    def argv(self, port: int | None = None) -> list[str]:
        command = [sys.executable, "-m", "trioet.cli.main", "connect"]
        command += _options("-o", self._sshd)
        return [*command, "-p", str(port or self._port), f"{user()}@{HOST}"]

    def kept_processes(self) -> set[int]:
        running = self.server_processes()
        return {pid for pid in running if "keeper" in processes.command_line(pid)}


PEERS: Final[tuple[type[Peer], ...]] = (Trioet, EternalTerminal, Ssh, Mosh)


def missing_programs(peer: type[Peer]) -> list[str]:
    """The programs that ``peer`` needs and that are not on PATH."""
    return [name for name in ("ssh", *peer.programs) if not shutil.which(name)]


def _options(flag: str, sshd: Sshd) -> list[str]:
    return [word for option in sshd.client_options() for word in (flag, option)]


def _daemon(argv: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _here() -> str:
    """Our own PATH: a peer may be installed anywhere."""
    return os.environ.get("PATH", "")
