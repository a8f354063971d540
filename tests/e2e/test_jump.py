"""Whole sessions through jumphosts: real sshd, keepers and routers, one of each per host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from farside import FarSide
from fixtures_sshd import running_sshd

pytestmark = pytest.mark.e2e


class Journey:
    """Jumphosts and a destination, each a host of its own; ssh knows them by their names."""

    def __init__(self, hosts: dict[str, FarSide], config: Path) -> None:
        self.hosts = hosts
        self.config = config
        self.environment = {**hosts["db1"].environment, "TRIOET_RUNTIME_DIR": str(config.parent)}

    def connect(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "trioet.cli.main", "connect", "-F", str(self.config)]
        at = arguments.index("--") if "--" in arguments else len(arguments)
        return [*command, *arguments[:at], "db1", *arguments[at:]]

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.connect(*arguments),
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=60,
            check=False,
        )


@contextmanager
def journey(directory: Path, sockets: Path, *names: str) -> Iterator[Journey]:
    with ExitStack() as stack:
        hosts = {}
        for name in (*names, "db1"):
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


def test_a_chain_of_two_without_any_server(tmp_path: Path, runtime_dir: Path) -> None:
    with journey(tmp_path, runtime_dir, "a", "b") as way:
        done = way.run("--jump", "a,b", "--", "echo hi; exit 3")
        print(done.stderr.decode())
        for host in way.hosts.values():
            print(host.keeper_log())
        assert (done.returncode, done.stdout) == (3, b"hi\n")
