from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trioet.doctor import facts
from trioet.doctor.facts import (
    PROTOCOL,
    gather,
    keeper_facts,
    linger_facts,
    router_facts,
    runtime_facts,
)
from trioet.server.local import LOCAL_VERSION, parse_message
from trioet.wire.messages import PROTOCOL_VERSION


@contextmanager
def listener(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))
        sock.listen(1)
        yield sock


def test_what_is_repeated_here_to_save_imports_is_the_same() -> None:
    assert PROTOCOL == PROTOCOL_VERSION
    assert parse_message(facts.ROUTER_QUESTION, ()).fields == {"v": LOCAL_VERSION, "add": []}


def test_looking_makes_nothing(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = runtime_dir / "not" / "there"
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(place))

    found = gather("xterm")

    assert found["runtime"] == {"path": str(place), "exists": False, "problem": ""}
    assert found["keeper"]["state"] == "none"
    assert found["router"]["state"] == "none"
    assert list(runtime_dir.iterdir()) == []


def test_a_directory_that_can_not_be_made_is_told(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime_dir / "file").touch()
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(runtime_dir / "file" / "below"))
    assert runtime_facts()["problem"] == f"{runtime_dir}/file may not be written"


def test_a_directory_that_is_no_directory_is_told(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime_dir / "file").touch()
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(runtime_dir / "file"))
    assert "not a directory" in runtime_facts()["problem"] or "exists" in runtime_facts()["problem"]


def test_a_keeper_that_hangs_is_silent(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PATIENCE_S", 0.05)
    with listener(runtime_dir / "keeper.sock"):
        assert keeper_facts() == {"state": "silent"}
        with socket.socket(socket.AF_UNIX) as second:
            second.connect(str(runtime_dir / "keeper.sock"))
            assert keeper_facts() == {"state": "silent"}  # its queue is full


def test_a_socket_that_nobody_serves_is_none(runtime_dir: Path) -> None:
    with listener(runtime_dir / "keeper.sock"):
        pass
    assert keeper_facts() == {"state": "none", "trouble": ""}


def test_a_keeper_that_could_not_start_is_told_why(
    runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nacl.py").write_text("raise ImportError('made for another machine')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert keeper_facts() == {
        "state": "none",
        "trouble": "ImportError: made for another machine",
    }
    monkeypatch.setattr(facts, "START_S", 0.001)
    assert "timed out" in keeper_facts()["trouble"]
    monkeypatch.setattr("sys.executable", "/no/such/python")
    assert "No such file" in keeper_facts()["trouble"]


def test_a_router_that_hangs_is_silent(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PATIENCE_S", 0.05)
    path = runtime_dir / "router.sock"
    with listener(path, socket.SOCK_SEQPACKET):
        assert router_facts() == {"socket": str(path), "state": "silent"}
        assert router_facts(str(path))["state"] == "silent"
    assert router_facts(str(path)) == {"socket": str(path), "state": "none"}


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"a/logind.conf": "[Login]\nKillUserProcesses=yes\n"}, True),
        ({"a/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        (
            {
                "a/logind.conf": "[Login]\nKillUserProcesses=yes\n",
                "b/logind.conf": "[Login]\nKillUserProcesses=no\n",
            },
            False,
        ),
        (
            {
                "b/logind.conf": "[Login]\nKillUserProcesses=no\n",
                "a/logind.conf.d/10-x.conf": "[Login]\nKillUserProcesses=on\n",
            },
            True,
        ),
        (
            {
                "a/logind.conf.d/10-x.conf": "[Login]\nKillUserProcesses=on\n",
                "b/logind.conf.d/10-x.conf": "[Login]\n",
            },
            False,
        ),
        ({"a/logind.conf": "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=bob me\n"}, False),
        ({"a/logind.conf": "\x00 nonsense\n"}, False),
    ],
)
def test_logind_s_configuration_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], kills: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    directories = (str(tmp_path / "a"), str(tmp_path / "b"))
    monkeypatch.setattr(facts, "LOGIND_DIRECTORIES", directories)
    monkeypatch.setattr(facts, "user_name", lambda: "me")
    monkeypatch.setattr(os.path, "isdir", lambda path: True)  # logind is there

    assert linger_facts()["kills"] is kills
