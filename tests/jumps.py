"""A client, a jumphost and a destination, each real Eternal Terminal or ours: sessions through
ET's two-level jump. One sshd is the way to both hosts, which have their directories apart."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from farside import SOURCE, FarSide
from fixtures_sshd import Sshd
from ports import free_ports
from real_et import ET, ETSERVER

OURS, THEIRS = "trioet", "et"

PATIENCE_S: Final = 20.0

DRIVER: Final = Path(__file__).with_name("through_jumphost.py")


Travel = Callable[[str, str, str], "Journey"]


class Host:
    """A host with a router of ours, or a real etserver; only its terminal is on the far PATH."""

    def __init__(self, whose: str, sshd: Sshd, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.whose = whose
        self.directory = directory
        self.far: FarSide | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.wait_registered = "true"
        """A real jumphost tells its server of a session after it has answered: a real et that
        comes sooner is denied, and hangs (specification 2.3, 7.1)."""
        if whose == OURS:
            self.far = FarSide(sshd, directory)
            self.port = self.far.start_router()
            code = "import sys; from trioet.cli.terminal import etterminal; sys.exit(etterminal())"
            env = f"TRIOET_RUNTIME_DIR={directory} PYTHONPATH={SOURCE}"
            self.terminal = f"{env} {shlex.join([sys.executable, '-c', code])}"
        else:
            self.port = free_ports(1)[0]
            self.terminal = self._start_etserver()

    def _start_etserver(self) -> str:
        assert ETSERVER is not None
        fifo = self.directory / "fifo"
        files = [f"--serverfifo={fifo}", f"--logdir={self.directory}"]
        self.process = subprocess.Popen(
            [ETSERVER, f"--port={self.port}", "--bindip=127.0.0.1", "--telemetry=false", *files],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not fifo.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        log = f"{self.directory}/etjump-*.log"
        self.wait_registered = f"until grep -qs 'good socket' {log}; do sleep 0.02; done"
        return shlex.join([str(Path(ETSERVER).parent / "etterminal"), *files])

    def log(self) -> str:
        """What the keeper there has logged."""
        assert self.far is not None
        return self.far.keeper_log()

    def end(self) -> None:
        """End it, with all its sessions."""
        if self.far is not None:
            self.far.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self._end_terminals()

    def _end_terminals(self) -> None:
        """A real terminal that waits for its destination does not end with its server."""
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"--logdir={self.directory}\0".encode() in (place / "cmdline").read_bytes():
                    os.kill(int(place.name), signal.SIGKILL)


class Journey:
    """From a client through a jumphost to a destination."""

    def __init__(
        self, sshd: Sshd, directory: Path, client: str, jumphost: str, destination: str
    ) -> None:
        self.client = client
        self.directory = directory
        self._sshd = sshd
        self._filter = ""
        self.jumphost = Host(jumphost, sshd, directory / "j")
        self.destination = Host(destination, sshd, directory / "d")
        self.environment = {
            **FarSide(sshd, directory).environment,
            "PATH": f"{self._put_ssh()}:/usr/bin:/bin",
            "ET_NO_TELEMETRY": "1",
        }
        self.put_terminals()

    def put_terminals(self) -> None:
        """Put nothing on the far PATH but their etterminals."""
        jump = f'{self.jumphost.terminal} "$@"{self._filter}; {self.jumphost.wait_registered}'
        self._sshd.bin.joinpath("trioet").unlink(missing_ok=True)
        self._sshd.put_program(
            "etterminal",
            'case " $* " in\n'
            f'*" --jump "*) {jump} ;;\n'
            f'*) {self.destination.terminal} "$@" ;;\n'
            "esac",
        )

    def _put_ssh(self) -> Path:
        """An ssh for `et`, which has no -F: one that needs no configuration of the user's."""
        config = self._sshd.ssh_config_path.read_text().replace(self._sshd.host_alias, "*")
        place = self.directory / "bin"
        place.mkdir()
        (place / "config").write_text(config)
        script = place / "ssh"
        # Both hosts are this machine: ssh would not jump from it to itself.
        jumpless = '[ "$1" = -J ] && shift 2'
        script.write_text(f'#!/bin/sh\n{jumpless}\nexec /usr/bin/ssh -F {place}/config "$@"\n')
        script.chmod(0o755)
        return place

    def command(
        self,
        *options: str,
        jport: int | None = None,
        dport: int | None = None,
    ) -> list[str]:
        """The command line of the client; the ports are those of proxies before the hosts."""
        jport, dport = jport or self.jumphost.port, dport or self.destination.port
        if self.client == OURS:
            config = ["-F", str(self._sshd.ssh_config_path)]
            driver = [sys.executable, str(DRIVER), str(jport), str(dport), *config]
            if "--" in options:
                at = options.index("--")
                return [*driver, *options[:at], self._sshd.host_alias, *options[at:]]
            return [*driver, *options, self._sshd.host_alias]
        assert ET is not None
        files = f"--logdir={self.directory}"
        jump = ["--jumphost", f"127.0.0.1:{self._sshd.port}", "--jport", str(jport)]
        return [ET, "--telemetry=false", files, *jump, *options, f"127.0.0.1:{dport}"]

    def hide_our_jumphost(self) -> None:
        """Let it pass for a real one, with our client."""
        self._filter = " | grep IDPASSKEY"
        self.put_terminals()

    def fake_pkill(self) -> Path:
        """Put a pkill on the far PATH that only notes what it is to end: others may run there
        what it would; return its notes."""
        notes = self.directory / "killed"
        self._sshd.put_program("pkill", f'echo "$@" >>{notes}')
        return notes

    def end(self) -> None:
        """End all that was started."""
        for host in (self.jumphost, self.destination):
            host.end()


@pytest.fixture
def travel(sshd: Sshd, runtime_dir: Path) -> Iterator[Travel]:
    """Begin a journey by saying whose client, jumphost and destination are; one per test."""
    with ExitStack() as at_end:

        def begin(client: str, jumphost: str, destination: str) -> Journey:
            made = Journey(sshd, runtime_dir, client, jumphost, destination)
            at_end.callback(made.end)
            return made

        yield begin
