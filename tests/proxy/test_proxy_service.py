"""`trioet proxy` as a process: how it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ports import free_ports
from waiting import until

PATIENCE_S = 60.0

COMMAND = [sys.executable, "-m", "trioet.cli.main", "proxy"]


class Proxy:
    """One that listens at a path. Another proxy would be at its other end."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.path = place / "p.sock"
        self._log = place / "log"
        self._key = place / "key"
        subprocess.run([*COMMAND, "--new-key", str(self._key)], check=True, capture_output=True)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def refused(self, *more: str) -> str:
        """What one says that does not come to listen."""
        done = subprocess.run(
            self._command(*more), capture_output=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 255
        return done.stderr.decode()

    @contextmanager
    def started(self, *before: str) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("wb") as log:
            process = subprocess.Popen([*before, *self._command()], stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_S)

    async def until_listening(self) -> None:
        await until(lambda: "leads to" in self.log, PATIENCE_S)

    def _command(self, *more: str) -> list[str]:
        to = f"eternal:127.0.0.1:{free_ports(1)[0]}"
        ends = ["--listen", str(self.path), "--to", to, "--key-file", str(self._key)]
        return [*COMMAND, *ends, *more]


@pytest.fixture
def proxy(runtime_dir: Path) -> Proxy:
    return Proxy(runtime_dir)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_end_it_in_order(proxy: Proxy, number: signal.Signals) -> None:
    with proxy.started() as process:
        await proxy.until_listening()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    assert not proxy.path.exists()


async def test_nohup_keeps_it_alive(proxy: Proxy) -> None:
    with proxy.started("nohup") as process:
        await proxy.until_listening()
        assert ignores(process.pid, signal.SIGHUP)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def ignores(pid: int, number: signal.Signals) -> bool:
    """As proc(5) says."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def test_a_socket_that_a_killed_one_has_left_is_replaced(proxy: Proxy) -> None:
    with proxy.started() as process:
        await proxy.until_listening()
        process.kill()
    assert proxy.path.exists()

    with proxy.started():
        await proxy.until_listening()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(proxy.path))
        assert "in use; choose another path" in proxy.refused()


def test_a_health_endpoint_that_can_have_no_name_is_told_in_a_line(proxy: Proxy) -> None:
    token = proxy.place / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    said = proxy.refused("--health", "a..b:1", "--health-token", str(token))
    assert said.startswith("trioet: cannot listen on a..b:1: ")
    assert said.count("\n") == 1
