"""What serves a program to browsers: trioet by each protocol that it speaks, gotty, ttyd; and a
pty without a server."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bench import processes
from bench.place import PROJECT, free_port
from bench.sshd import wait_listening
from bench.terminal import BenchError
from bench.web_client import (
    HOST,
    PATIENCE_S,
    PIECE,
    LinkViewer,
    RawViewer,
    TtyViewer,
    Viewer,
    WebttyViewer,
)

MARK: Final = "TRIOET_RUNTIME_DIR"


class Serving:
    """A program that is being served, each viewer a process of its own."""

    def __init__(self, open_viewer: Callable[[], Viewer], pids: Callable[[], set[int]]) -> None:
        self._open_viewer = open_viewer
        self.processes = pids
        """Those that serve; neither the programs nor the driver."""

    @contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """Somebody at the program, until the block ends.

        Raises:
          BenchError: there is no connection to be had, or it broke.
        """
        try:
            viewer = self._open_viewer()
            try:
                yield viewer
            finally:
                viewer.close()
        except OSError as error:
            raise BenchError(f"a connection broke: {error}") from error


class WebPeer:
    """One kind of server. It is started for each program anew."""

    name: str
    title: str
    programs: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __init__(self, place: Path) -> None:
        self.place = place / self.name
        self.place.mkdir(mode=0o700)

    def version(self) -> str:
        """What is measured, for the notes."""
        command = [self.name, "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        return (said.stdout or said.stderr).partition("\n")[0]

    def argv(self, port: int, command: Sequence[str]) -> list[str]:
        """The server's command line."""
        raise NotImplementedError

    def open(self, port: int) -> Viewer:
        """A viewer of what is served there."""
        raise NotImplementedError

    @contextmanager
    def serving(self, command: Sequence[str]) -> Iterator[Serving]:
        """Serve ``command`` until the block ends.

        Raises:
          BenchError: it does not start.
        """
        port = free_port()
        log = self.place / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.argv(port, command),
                env={**os.environ, **self._environment()},
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_listening(port, process, self.title, log)
            yield Serving(lambda: self.open(port), self._processes)
        finally:
            processes.end(self._marked())
            process.wait()

    def _environment(self) -> dict[str, str]:
        return {MARK: str(self.place)}

    def _marked(self) -> set[int]:
        """What was started by us, and what that has started: all that has our mark."""
        ours = processes.descendants(os.getpid())
        return processes.with_environment(ours, f"{MARK}={self.place}".encode())

    def _processes(self) -> set[int]:
        return processes.without_terminal(self._marked())


class Gotty(WebPeer):
    name, title = "gotty", "gotty"
    programs = ("gotty",)

    def argv(self, port: int, command: Sequence[str]) -> list[str]:
        return ["gotty", "--address", HOST, "--port", str(port), "-w", "--quiet", *command]

    def open(self, port: int) -> Viewer:
        return WebttyViewer(port)


class Ttyd(WebPeer):
    name, title = "ttyd", "ttyd"
    programs = ("ttyd",)

    def argv(self, port: int, command: Sequence[str]) -> list[str]:
        return ["ttyd", "-i", HOST, "-p", str(port), "-W", "-d", "1", *command]

    def open(self, port: int) -> Viewer:
        return TtyViewer(port)


class TrioetWeb(WebPeer):
    """`trioet web` of this checkout, spoken to as its page does: the sealed link, to a session
    in a keeper."""

    name, title = "web", "trioet"

    def version(self) -> str:
        return f"trioet web of this checkout, subprotocol {self.subprotocol}"

    subprotocol = "trioet"

    def argv(self, port: int, command: Sequence[str]) -> list[str]:
        program = [sys.executable, "-m", "trioet.cli.main", "web", "-q"]
        return [*program, "-a", HOST, "-p", str(port), "-w", "--", *command]

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "PYTHONPATH": str(PROJECT / "src"),
            "PYTHONPYCACHEPREFIX": str(self.place / "pycache"),
        }

    def open(self, port: int) -> Viewer:
        return LinkViewer(port)


class TrioetWebtty(TrioetWeb):
    """The same, spoken to as GoTTY's page does: a process without a keeper."""

    name, title = "web-webtty", "trioet, `webtty`"
    subprotocol = "webtty"

    def open(self, port: int) -> Viewer:
        return WebttyViewer(port)


class TrioetTty(TrioetWeb):
    """The same, spoken to as ttyd's page does."""

    name, title = "web-tty", "trioet, `tty`"
    subprotocol = "tty"

    def open(self, port: int) -> Viewer:
        return TtyViewer(port)


class LeastWeb(WebPeer):
    """What any server on Trio takes at least: least.py, without even a WebSocket."""

    name, title = "least", "least on Trio"
    only = ("web-echo", "web-echo-fast", "web-output")

    def version(self) -> str:
        return "the least on Trio: bytes between a socket and a pty (bench/least.py)"

    def argv(self, port: int, command: Sequence[str]) -> list[str]:
        ports = f"{port},{free_port()}"
        return [sys.executable, "-m", "bench.least", "server", *command, ports]

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PYTHONPATH": str(PROJECT)}

    def open(self, port: int) -> Viewer:
        return RawViewer(port)


class BarePty(WebPeer):
    """No server: what the driver and the kernel can do."""

    name, title = "pty", "bare pty"
    only = ("web-echo", "web-echo-fast", "web-output", "web-tail")

    def version(self) -> str:
        return "a pty that the driver reads itself"

    @contextmanager
    def serving(self, command: Sequence[str]) -> Iterator[Serving]:
        yield Serving(lambda: PtyViewer(command), set)


class PtyViewer:
    """At a pty of our own."""

    def __init__(self, command: Sequence[str]) -> None:
        self._pid, self._master = pty.fork()
        if not self._pid:
            with suppress(OSError):
                os.execvp(command[0], [*command])
            os._exit(127)

    def type(self, data: bytes) -> None:
        os.write(self._master, data)

    def read(self) -> list[bytes]:
        if not select.select([self._master], [], [], PATIENCE_S)[0]:
            raise BenchError(f"nothing came for {PATIENCE_S} s")
        try:
            return [os.read(self._master, PIECE)]
        except OSError:  # EIO: its other side is closed
            return []

    def close(self) -> None:
        os.close(self._master)
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


WEB_PEERS: Final[tuple[type[WebPeer], ...]] = (
    TrioetWeb, TrioetWebtty, TrioetTty, Gotty, Ttyd, LeastWeb, BarePty
)  # fmt: skip


def missing_web_programs(peer: type[WebPeer]) -> list[str]:
    """The programs that ``peer`` needs and that are not on PATH."""
    return [name for name in peer.programs if not shutil.which(name)]
