"""Where sockets may live, and where not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trioet.errors import LocalError
from trioet.server.local import bind_local
from trioet.server.places import (
    MAX_FURTHER,
    MAX_SOCKET_PATH,
    keeper_socket,
    make_runtime_dir,
    router_socket_to_serve,
    router_sockets_to_try,
)
from trioet.server.places import runtime_dir as the_runtime_dir


def test_a_private_directory_is_fine(runtime_dir: Path) -> None:
    with bind_local(str(runtime_dir / "router.sock"), 0o666) as listener:
        assert listener.getsockname() == str(runtime_dir / "router.sock")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_that_anybody_may_write_is_refused(runtime_dir: Path, mode: int) -> None:
    open_to_all = runtime_dir / "open"
    open_to_all.mkdir()
    open_to_all.chmod(mode)
    with pytest.raises(LocalError, match="may be written by anybody"):
        bind_local(str(open_to_all / "router.sock"), 0o666)


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/tmp/private"])
def test_nothing_is_put_among_temporary_files(place: str) -> None:
    with pytest.raises(LocalError, match="no sockets in /"):
        bind_local(f"{place}/router.sock", 0o666)


def test_a_link_is_not_followed(runtime_dir: Path) -> None:
    (runtime_dir / "there").mkdir()
    (runtime_dir / "link").symlink_to(runtime_dir / "there")
    with pytest.raises(LocalError, match=f"say {runtime_dir}/there"):
        bind_local(str(runtime_dir / "link" / "router.sock"), 0o666)


def test_a_link_in_the_sockets_place_is_refused(runtime_dir: Path) -> None:
    (runtime_dir / "precious").write_text("mine")
    (runtime_dir / "router.sock").symlink_to(runtime_dir / "precious")
    with pytest.raises(LocalError, match="not a socket"):
        bind_local(str(runtime_dir / "router.sock"), 0o666)
    assert (runtime_dir / "precious").read_text() == "mine"


def test_a_socket_that_somebody_serves_is_left_alone(runtime_dir: Path) -> None:
    path = str(runtime_dir / "router.sock")
    with bind_local(path, 0o666), pytest.raises(LocalError, match="another trioet server listens"):
        bind_local(path, 0o666)


def test_a_keeper_looks_for_further_routers_too(runtime_dir: Path) -> None:
    for name in ("router-b.sock", "router-a.sock", "router.log", "keeper.sock"):
        (runtime_dir / name).touch()
    names = [os.path.basename(path) for path in router_sockets_to_try()]
    assert names == ["router.sock", "router-a.sock", "router-b.sock"]
    for number in range(2 * MAX_FURTHER):
        (runtime_dir / f"router-{number}.sock").touch()
    assert len(router_sockets_to_try()) == 1 + MAX_FURTHER


def test_a_socket_that_nobody_serves_is_replaced(runtime_dir: Path) -> None:
    path = str(runtime_dir / "router.sock")
    bind_local(path, 0o666).close()
    with bind_local(path, 0o666), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        caller.connect(path)


def test_who_asks_for_a_place_makes_nothing(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = runtime_dir / "a" / "b"
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(there))
    assert the_runtime_dir() == str(there)
    assert keeper_socket() == str(there / "keeper.sock")
    assert router_socket_to_serve() == str(there / "router.sock")
    assert router_sockets_to_try() == [str(there / "router.sock")]
    assert not any(runtime_dir.iterdir())


def test_who_writes_makes_it_private(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = runtime_dir / "a" / "b"
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(there))
    assert make_runtime_dir() == make_runtime_dir() == str(there)
    assert there.stat().st_mode & 0o7777 == 0o700


def test_a_runtime_directory_that_cannot_be_made_is_told(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime_dir / "file").touch()
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(runtime_dir / "file" / "dir"))
    with pytest.raises(LocalError, match=r"cannot make .* for trioet's sockets: "):
        make_runtime_dir()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_runtime_directory_that_is_open_to_others_is_refused(
    runtime_dir: Path, mode: int
) -> None:
    runtime_dir.chmod(mode)
    with pytest.raises(LocalError, match="chmod 700"):
        the_runtime_dir()
    runtime_dir.chmod(0o700)


def test_a_runtime_directory_that_is_a_link_is_refused(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime_dir / "link").symlink_to(runtime_dir)
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(runtime_dir / "link"))
    with pytest.raises(LocalError, match="not a directory"):
        the_runtime_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_somebody_elses_runtime_directory_is_refused(runtime_dir: Path) -> None:
    os.chown(runtime_dir, 65534, 65534)
    with pytest.raises(LocalError, match="must be yours"):
        the_runtime_dir()


def test_a_path_that_is_too_long_for_a_socket_is_told(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = runtime_dir / ("x" * MAX_SOCKET_PATH)
    monkeypatch.setenv("TRIOET_RUNTIME_DIR", str(long))
    with pytest.raises(LocalError, match="too long"):
        keeper_socket()
