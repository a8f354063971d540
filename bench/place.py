"""Where a run lives: a private directory, free ports, and a home without surprises."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

RC_FILES: Final = (
    ".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc"
)  # fmt: skip
QUIET_RC: Final = "PS1='bench> '\n"
QUIET_MARK: Final = "TRIOET_BENCH_QUIET_HOME"
NAMESPACE: Final = ("unshare", "--mount", "--propagation", "private", "--")
PRIVILEGE_SEPARATION: Final = Path("/run/sshd")

PROJECT: Final = Path(__file__).resolve().parent.parent


@contextmanager
def private_place() -> Iterator[Path]:
    """A directory for keys, sockets and logs that nobody else can enter; gone afterwards."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    parent = Path(runtime) if os.access(runtime, os.W_OK) else Path.home() / ".cache"
    parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="trioet-bench-", dir=parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def make_privilege_separation() -> None:
    """The empty directory that sshd insists on when root runs it; it stays, as after a boot."""
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)


def free_port() -> int:
    """A TCP port of loopback that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def quiet_home() -> bool:
    """Whether this process runs where the user's shell start-up files are covered up."""
    return QUIET_MARK in os.environ


def enter_quiet_home() -> None:
    """Start this program again where the user's shell start-up files say nothing but a prompt.

    What they do (half a second, with some version managers) would be measured with every
    connection, and not even equally often for each peer. A mount namespace of our own
    covers them, which takes root; as anybody else this returns and nothing has changed.
    """
    covered = [path for name in RC_FILES if (path := Path.home() / name).is_file()]
    if quiet_home() or not _may_unshare():
        return
    with private_place() as place:  # gone after the exec: the mounts keep the file
        rc = place / "rc"
        rc.write_text(QUIET_RC)
        mounts = "".join(
            f'mount --bind "$rc" "${number}" && ' for number in range(1, len(covered) + 1)
        )
        script = f'rc=$0; {mounts}rm -r "${{rc%/rc}}" && shift {len(covered)} && exec "$@"'
        again = [sys.executable, "-m", "bench", *sys.argv[1:]]
        inside = ["sh", "-c", script, str(rc), *map(str, covered), *again]
        sys.stdout.flush()
        os.execvpe("unshare", [*NAMESPACE, *inside], {**os.environ, QUIET_MARK: "1"})


def _may_unshare() -> bool:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
