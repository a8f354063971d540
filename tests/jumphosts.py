"""Jumphosts and a destination: an sshd each, a runtime directory each, one ssh configuration."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from farside import FarSide
from fixtures_sshd import running_sshd

DESTINATION: Final = "db1"


class Journey:
    """Jumphosts and a destination, each a host of its own; ssh knows them by their names."""

    def __init__(self, hosts: dict[str, FarSide], config: Path) -> None:
        self.hosts = hosts
        self.destination = hosts[DESTINATION]
        self.config = config
        self.arguments: list[str] = []
        """What every command line holds."""
        self.environment = {
            **self.destination.environment,
            "TRIOET_RUNTIME_DIR": str(config.parent),
        }

    def connect(self, *arguments: str) -> list[str]:
        """The command line that connects to the destination."""
        command = [sys.executable, "-m", "trioet.cli.main", "connect", "-F", str(self.config)]
        command += self.arguments
        at = arguments.index("--") if "--" in arguments else len(arguments)
        return [*command, *arguments[:at], DESTINATION, *arguments[at:]]

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

    def complaint(self, *arguments: str) -> str:
        """Connect in vain, without ssh to carry the session; return what is said."""
        done = self.run("--via", "direct", *arguments)
        assert done.returncode == 255, done
        return done.stderr.decode()

    def configure(self, host: str, *words: str) -> None:
        """Add to what ssh's configuration says of a host."""
        with self.config.open("a") as file:
            file.write("\n".join([f"Host {host}", *words, ""]))


@contextmanager
def journey(directory: Path, sockets: Path, *hops: str) -> Iterator[Journey]:
    """Hosts of these names, and the destination."""
    with ExitStack() as stack:
        hosts = {}
        for name in (*hops, DESTINATION):
            sshd = stack.enter_context(running_sshd(directory / name, name))
            runtime_dir = sockets / name
            runtime_dir.mkdir(mode=0o700)
            hosts[name] = FarSide(sshd, runtime_dir)
            stack.callback(hosts[name].close)
        client = sockets / "client"
        client.mkdir(mode=0o700)
        config = client / "ssh_config"
        config.write_text("".join(host.sshd.ssh_config_path.read_text() for host in hosts.values()))
        yield Journey(hosts, config)
