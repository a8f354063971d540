"""A private sshd on loopback: own port, own keys, own environment for what it starts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.place import free_port
from bench.terminal import BenchError

START_S: Final = 10.0

CONFIG: Final = """\
ListenAddress 127.0.0.1:{port}
HostKey {place}/host_key
AuthorizedKeysFile {place}/user_key.pub
PidFile none
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
LogLevel ERROR
SetEnv {environment}
"""


def find_sshd() -> str | None:
    """sshd's path; it is seldom on the PATH of users."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def make_keys(place: Path) -> None:
    """Make the keys that every sshd and ssh of this run uses."""
    for name in ("host_key", "user_key"):
        command = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            name,
            "-f",
            str(place / name),
        ]
        subprocess.run(command, check=True)


def listening(port: int) -> bool:
    """Whether somebody accepts on this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_listening(port: int, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    """Wait until ``process`` accepts on ``port``.

    Raises:
      BenchError: it ended, or does not within START_S; with the last line of its ``log``.
    """
    deadline = time.monotonic() + START_S
    while not listening(port):
        if process.poll() is not None:
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            last = lines[-1] if lines else "and said nothing"
            raise BenchError(f"{name} ended at once, status {process.returncode}: {last}")
        if time.monotonic() > deadline:
            raise BenchError(f"{name} does not listen on port {port} after {START_S:g} s")
        time.sleep(0.02)


class Sshd:
    """One sshd."""

    def __init__(self, place: Path, name: str) -> None:
        self._place = place
        self._name = name
        self.port = self.reached_at = free_port()
        """Where it listens, and where clients are sent."""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it and wait until it accepts. What it starts has ``environment``.

        Raises:
          BenchError: it does not.
        """
        config = self._place / f"sshd-{self._name}.conf"
        pairs = " ".join(f'"{name}={value}"' for name, value in environment.items())
        config.write_text(CONFIG.format(port=self.port, place=self._place, environment=pairs))
        sshd = find_sshd()
        assert sshd is not None
        log = self._place / f"sshd-{self._name}.log"
        command = [sshd, "-D", "-f", str(config), "-E", str(log)]
        self.process = subprocess.Popen(command, start_new_session=True)
        wait_listening(self.port, self.process, "sshd", log)

    def client_options(self) -> list[str]:
        """Values for ssh's ``-o``, the same for every peer. The user's settings do not count."""
        return [
            f"Port={self.reached_at}",
            f"IdentityFile={self._place}/user_key",
            f"UserKnownHostsFile={self._place}/known_hosts",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=no",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ControlPath=none",
            "ForwardAgent=no",
            "ForwardX11=no",
            "LogLevel=ERROR",
        ]
