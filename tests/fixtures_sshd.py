"""A real OpenSSH server of a test's own: the fixture ``sshd``.

It listens on loopback, runs as whoever runs the tests, knows one key, and gives commands
a home and a PATH inside the test's directory.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import trioet
from ports import free_ports

START_DEADLINE_S: Final = 20.0
ATTEMPTS: Final = 5
PRIVILEGE_SEPARATION: Final = Path("/run/sshd")
SYSTEM_PATH: Final = "/usr/bin:/bin"

SERVER_CONFIG: Final = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
UseDNS no
LogLevel INFO
AcceptEnv TRIOET_TEST_* LC_*
Subsystem sftp internal-sftp
SetEnv PATH={directory}/bin:{system_path} HOME={directory}/home
"""

CLIENT_CONFIG: Final = """\
Host {alias}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {directory}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {directory}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd: ``ssh -F ssh_config_path host_alias`` gets there without a question."""

    directory: Path
    port: int
    host_alias: str = "farside"

    @property
    def ssh_config_path(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def bin(self) -> Path:
        """First on the far PATH."""
        return self.directory / "bin"

    @property
    def home(self) -> Path:
        """The far HOME."""
        return self.directory / "home"

    @property
    def host_key_path(self) -> Path:
        return self.directory / "host_key"

    @property
    def user_key_path(self) -> Path:
        return self.directory / "user_key"

    @property
    def known_hosts_path(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def logins(self) -> int:
        """How often somebody has logged in."""
        return (self.directory / "sshd.log").read_text().count("Accepted publickey")

    def put_program(self, name: str, script: str) -> Path:
        """Put a shell script on the far PATH."""
        return _executable(self.bin / name, script)

    def install_trioet(self) -> None:
        """Put `trioet` and `etterminal` of the running interpreter on the far PATH."""
        source = shlex.quote(str(Path(trioet.__file__).parents[1]))
        python = f"PYTHONPATH={source} exec {shlex.quote(sys.executable)}"
        self.put_program("trioet", f'{python} -m trioet.cli.main "$@"')
        call = "import sys; from trioet.cli.terminal import etterminal; sys.exit(etterminal())"
        self.put_program("etterminal", f'{python} -c "{call}" "$@"')

    def use_login_shell(self, script: str) -> None:
        """From now on run this shell script for every command, instead of the login shell.

        It finds the command in ``$SSH_ORIGINAL_COMMAND``.
        """
        wrapper = _executable(self.directory / "login_shell", script)
        key = self.user_key_path.with_suffix(".pub").read_text()
        (self.directory / "authorized_keys").write_text(f'command="{wrapper}" {key}')


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A real sshd on a loopback port, ended with the test."""
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@contextlib.contextmanager
def running_sshd(directory: Path, host_alias: str = "farside") -> Iterator[Sshd]:
    """A real sshd on a loopback port, with all its files in a new directory."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("this test needs sshd; install it: apt-get install openssh-server")
    _make_privilege_separation_directory()
    for part in (directory, directory / "bin", directory / "home"):
        part.mkdir()
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
            directory / name,
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    process, server = _start(program, directory, host_alias)
    try:
        yield server
    finally:
        _stop(process)


@pytest.fixture
def free_tcp_port() -> int:
    """A loopback port that nobody listens on."""
    return free_ports(1)[0]


def _make_privilege_separation_directory() -> None:
    """systemd makes it before it starts sshd; without systemd, we do."""
    if os.getuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)


def _start(program: str, directory: Path, host_alias: str) -> tuple[subprocess.Popen[bytes], Sshd]:
    for _ in range(ATTEMPTS):
        server = Sshd(directory, free_ports(1)[0], host_alias)
        _write_configs(server)
        files = ["-f", str(directory / "sshd_config"), "-E", str(directory / "sshd.log")]
        process = subprocess.Popen([program, "-D", *files], stdin=subprocess.DEVNULL)
        if _answers(process, server.port):
            return process, server
        _stop(process)
    pytest.fail(f"sshd does not start:\n{(directory / 'sshd.log').read_text()}")


def _write_configs(server: Sshd) -> None:
    fields = {
        "port": server.port,
        "directory": server.directory,
        "alias": server.host_alias,
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "system_path": SYSTEM_PATH,
    }
    (server.directory / "sshd_config").write_text(SERVER_CONFIG.format(**fields))
    server.ssh_config_path.write_text(CLIENT_CONFIG.format(**fields))
    key = server.host_key_path.with_suffix(".pub").read_text()
    server.known_hosts_path.write_text(f"[127.0.0.1]:{server.port} {key}")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it listens; False if it ended instead, its port being taken."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as probe:
            return probe.recv(4) == b"SSH-"
        time.sleep(0.01)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End sshd, and the sessions it serves: those are not in its process group."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    sessions = children.read_text().split() if children.exists() else []
    process.terminate()
    for pid in sessions:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    process.wait(START_DEADLINE_S)


def _executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
