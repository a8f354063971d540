from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from activation import PLACE
from trioet.server.systemd import listen_fds, notify

LISTENER = """
import os, sys
from trioet.errors import LocalError
from trioet.server.systemd import listen_fds
os.environ["LISTEN_PID"] = sys.argv[1].replace("OWN", str(os.getpid()))
try:
    listeners = listen_fds()
except LocalError as error:
    sys.exit(str(error))
print(*(f"{l.fileno()}:{l.getsockname()[1]}:{l.get_inheritable()}" for l in listeners))
print(*(name for name in os.environ if name.startswith("LISTEN_")))
"""
"""Run in a process of its own, where descriptors 3 and up are what was handed over."""


def activated(
    sockets: list[socket.socket], *, pid: str = "OWN", count: str | None = None
) -> subprocess.CompletedProcess[str]:
    numbers = [sock.fileno() for sock in sockets]
    placed = ",".join(map(str, numbers))
    names = ":".join("port" for _ in numbers)
    return subprocess.run(
        [sys.executable, "-c", PLACE, placed, "-c", LISTENER, pid],
        env={
            **os.environ,
            "LISTEN_FDS": str(len(sockets)) if count is None else count,
            "LISTEN_FDNAMES": names,
        },
        pass_fds=numbers,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_listeners_are_taken_over_and_hidden_from_children() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        done = activated([first, second])
        ports = [sock.getsockname()[1] for sock in (first, second)]
    assert done.stderr == ""
    assert done.stdout == f"3:{ports[0]}:False 4:{ports[1]}:False\n\n"


@pytest.mark.parametrize(("pid", "count"), [("1", "1"), ("", "1"), ("OWN", ""), ("OWN", "²")])
def test_what_is_meant_for_another_process_is_left_alone(pid: str, count: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = activated([listener], pid=pid, count=count)
    assert (done.stdout, done.stderr) == ("\n\n", "")


def test_without_systemd_there_are_no_listeners() -> None:
    assert listen_fds() == []


def test_a_socket_of_another_kind_is_refused_with_the_remedy(runtime_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "s"))
        listener.listen()
        done = activated([listener])
    assert done.stderr.startswith("LISTEN_FDS: descriptor 3 is no listening TCP socket;")
    assert "ListenStream=" in done.stderr


def test_a_connection_is_no_listener() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as connection,
    ):
        assert "descriptor 3 is no listening" in activated([connection]).stderr


def test_fewer_descriptors_than_announced_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = activated([listener], count="2")
    assert done.stderr == "LISTEN_FDS: descriptor 4: Bad file descriptor\n"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_notification_arrives(
    kind: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(runtime_dir / "notify") if kind == "path" else f"\0{runtime_dir.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        notify("READY=1\nSTATUS=serving")
        assert receiver.recv(100) == b"READY=1\nSTATUS=serving"


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "relative", "@nobody-is-there"])
def test_nobody_to_notify_is_no_trouble(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
