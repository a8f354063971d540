"""The programs compared, each with its private servers."""

from __future__ import annotations

import os
import shlex
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
SCRIPTS: Final = {
    "trioet": "trioet.cli.main:main",
    "etterminal": "trioet.cli.terminal:etterminal",
}
"""As pip installs them."""


class Peer(ABC):
    """One way to a remote shell. Made, then started; stopped with all it left running."""

    name: str
    title: str
    programs: tuple[str, ...] = ()
    """What it needs on PATH besides ssh and sshd."""
    only: tuple[str, ...] = ()
    """The rows that it takes part in; none: all of them."""
    reconnects: bool = False
    """Whether it connects through a TCP port that a proxy of ours can stand before."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.sshd = Sshd(place, self.name)

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

    def version(self) -> str:
        """What the program says when asked for its version."""
        command = self.version_command()
        said = subprocess.run(
            command, env=self.near_environment(), capture_output=True, text=True, check=False
        )
        lines = (said.stdout or said.stderr).strip().splitlines()
        return lines[0] if lines else f"{self.title} of unknown version"

    def version_command(self) -> list[str]:
        return [self.name, "--version"]

    def start(self) -> None:
        """Start the servers.

        Raises:
          BenchError: one of them does not start.
        """
        self.sshd.start(self.far_environment())
        assert self.sshd.process is not None
        self._daemons.append(self.sshd.process)

    def _start_daemon(self, argv: list[str], environment: dict[str, str], port: int) -> None:
        log = self.place / f"{self.name}-server.log"
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        wait_listening(port, daemon, f"{self.title}'s server", log)

    @abstractmethod
    def argv(self, port: int | None = None) -> list[str]:
        """The command that opens a session; through ``port`` instead of its server's own."""

    def login_argv(self) -> list[str]:
        """The same as a user does it, login and all."""
        return self.argv()

    @property
    def server_port(self) -> int:
        """Where the client's lasting connection goes."""
        return self.sshd.port

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

    def version_command(self) -> list[str]:
        return ["ssh", "-V"]

    def argv(self, port: int | None = None) -> list[str]:
        through = ["-p", str(port)] if port is not None else []
        return ["ssh", "-tt", *through, *_options("-o", self.sshd), f"{user()}@{HOST}"]


class Mosh(Peer):
    """mosh, told not to guess: guessed echo says nothing about the way to the server."""

    name, title = "mosh", "mosh"
    programs = ("mosh", "mosh-server")

    def argv(self, port: int | None = None) -> list[str]:
        ssh = " ".join(["ssh", *_options("-o", self.sshd)])
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
        self._start_daemon(command, environment, self._port)

    @property
    def server_port(self) -> int:
        return self._port

    def argv(self, port: int | None = None) -> list[str]:
        # By its path, since trioet has an etterminal too. Only so can it be told where to
        # log; its default is /tmp.
        far = f"{self._bin}/etterminal --logdir={self._logs}"
        return [
            "et", "--logdir", str(self._logs),
            "--serverfifo", str(self._fifo), "--terminal-path", far,
            *_options("--ssh-option", self.sshd),
            f"{user()}@{HOST}:{port or self._port}",
        ]  # fmt: skip


class Trioet(Peer):
    """trioet from this checkout, run by our own Python with what is installed there."""

    name, title = "trioet", "trioet"
    reconnects = True

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._bin = place / "bin"
        self._program = str(self._bin / "trioet")
        self._runtime = place / "run"
        self._port = free_port()
        for directory in (self._bin, self._runtime):
            directory.mkdir(mode=0o700)
        for script, function in SCRIPTS.items():
            path = self._bin / script
            module, _, name = function.partition(":")
            path.write_text(
                f"#!{sys.executable}\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n"
            )
            path.chmod(0o755)

    def far_path(self) -> str:
        return f"{self._bin}:{super().far_path()}"

    def far_environment(self) -> dict[str, str]:
        own = {"TRIOET_RUNTIME_DIR": str(self._runtime)}
        return {**super().far_environment(), **self._python(), **own}

    def near_environment(self) -> dict[str, str]:
        return {**super().near_environment(), **self._python()}

    def _python(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(PROJECT / "src"),
            # Installed programs are compiled already; without this a checkout might not be.
            "PYTHONPYCACHEPREFIX": str(self.place / "pycache"),
        }

    def version_command(self) -> list[str]:
        return [self._program, "--version"]

    def start(self) -> None:
        super().start()
        command = [self._program, "serve", "--bind", HOST]
        command += ["--port", str(self._port), "--socket", str(self._runtime / "router.sock")]
        environment = {**self.near_environment(), **self.far_environment()}
        self._start_daemon(command, environment, self._port)

    @property
    def server_port(self) -> int:
        return self._port

    def argv(self, port: int | None = None) -> list[str]:
        command = [self._program, "connect"]
        command += _options("-o", self.sshd)
        if port is not None:  # else the invitation tells; and ssh is no way around a proxy
            command += ["--via", "direct", "-p", str(port)]
        return [*command, f"{user()}@{HOST}"]

    def kept_processes(self) -> set[int]:
        running = self.server_processes()
        return {pid for pid in running if "keeper" in processes.command_line(pid)}


class Least(Peer):
    """What any program on Trio takes at least: least.py; and to log in: least_login.py."""

    name, title = "least", "least on Trio"
    only = ("echo", "bulk", "setups", "connect")

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._port, self._tunnel_port = free_port(), free_port()

    def version(self) -> str:
        return "the least on Trio: no packets, no key (bench/least.py, least_login.py)"

    def near_environment(self) -> dict[str, str]:
        return {**super().near_environment(), "PYTHONPATH": str(PROJECT)}

    def start(self) -> None:
        super().start()
        environment = {**self.near_environment(), **self.far_environment()}
        self._start_daemon(self._command("server"), environment, self._port)

    def argv(self, port: int | None = None) -> list[str]:
        return self._command("client")

    def login_argv(self) -> list[str]:
        program = [sys.executable, str(PROJECT / "bench" / "least_login.py")]
        ssh = ["ssh", "-tt", *_options("-o", self.sshd), f"{user()}@{HOST}"]
        return [*program, "near", *ssh, shlex.join([*program, "far"])]

    def _command(self, part: str) -> list[str]:
        return [sys.executable, "-m", "bench.least", part, f"{self._port},{self._tunnel_port}"]


PEERS: Final[tuple[type[Peer], ...]] = (Trioet, EternalTerminal, Ssh, Mosh, Least)


def missing_programs(peer: type[Peer]) -> list[str]:
    """The programs that ``peer`` needs and that are not on PATH."""
    return [name for name in ("ssh", *peer.programs) if not shutil.which(name)]


def _options(flag: str, sshd: Sshd) -> list[str]:
    return [word for option in sshd.client_options() for word in (flag, option)]


def _here() -> str:
    """Our own PATH: a peer may be installed anywhere."""
    return os.environ.get("PATH", "")
