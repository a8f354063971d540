from __future__ import annotations

import configparser
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trioet.server.places import SYSTEM_ROUTER_SOCKET
from trioet.server.units import SERVICE_UNITS, service_unit, socket_unit

ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed trioet, called by its full name."""
    path = tmp_path / "bin" / "trioet"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(path)])
    return path


def settings(unit: str) -> dict[str, list[str]]:
    """Every setting of a unit with all its values, as systemd adds them up."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("kind", ["socket", *sorted(SERVICE_UNITS)])
def test_a_unit_is_an_ini_file_that_says_where_it_belongs(kind: str, program: Path) -> None:
    unit = socket_unit(["2022"]) if kind == "socket" else service_unit(kind)
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(unit)
    assert parser.has_option("Install", "WantedBy")
    assert unit.startswith("# ")
    assert unit.endswith("\n")


@pytest.mark.parametrize("kind", ["system", "user"])
def test_a_service_starts_the_installed_program_and_reports_when_it_is_ready(
    kind: str, program: Path
) -> None:
    service = settings(service_unit(kind))
    assert service["ExecStart"][0].split()[:2] == [str(program), "serve"]
    assert service["Type"] == ["notify"]
    assert service["ExecReload"] == ["kill -HUP $MAINPID"]
    assert service["KillMode"] == ["process"]


def test_the_program_is_found_by_its_name_on_path(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["trioet"])
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert f"ExecStart={program} serve" in service_unit("user")


def test_called_by_another_name_the_program_beside_python_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/sh"])
    beside = Path(os.path.abspath(sys.executable)).parent / "trioet"
    assert f"ExecStart={beside} serve" in service_unit("user")


@pytest.mark.parametrize(
    ("name", "written"),
    [("a b", '"{}/a b/trioet"'), ("50%", '"{}/50%%/trioet"'), ("$x", '"{}/$$x/trioet"')],
)
def test_unusual_paths_are_written_as_systemd_reads_them(
    name: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name / "trioet"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(path)])
    assert f"ExecStart={written.format(tmp_path)} serve\n" in service_unit("user")


def test_the_system_unit_gives_the_router_nothing_it_does_not_need(program: Path) -> None:
    service = settings(service_unit("system"))
    assert service["DynamicUser"] == ["yes"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["ProtectHome"] == ["yes"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]
    assert service["SystemCallFilter"][0] == "@system-service"


def test_keepers_of_all_users_reach_the_system_routers_socket_and_are_known(program: Path) -> None:
    service = settings(service_unit("system"))
    assert service["ExecStart"][0].endswith(f"--socket {SYSTEM_ROUTER_SOCKET}")
    assert SYSTEM_ROUTER_SOCKET.startswith(f"/run/{service['RuntimeDirectory'][0]}/")
    assert int(service["RuntimeDirectoryMode"][0], 8) & stat.S_IXOTH
    assert not {"PrivateUsers", "RuntimeDirectoryPreserve", "RootDirectory"} & service.keys()


@needs_analyze
def test_systemd_finds_no_fault_with_the_system_units(program: Path, tmp_path: Path) -> None:
    (tmp_path / "trioet.service").write_text(service_unit("system"))
    (tmp_path / "trioet.socket").write_text(socket_unit(["2022"]))
    complaints = analyzed(
        "verify", str(tmp_path / "trioet.service"), str(tmp_path / "trioet.socket")
    )
    assert complaints == []


@needs_analyze
def test_systemd_finds_no_fault_with_the_user_unit(
    program: Path, tmp_path: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    (tmp_path / "trioet.service").write_text(service_unit("user"))
    assert analyzed("--user", "verify", str(tmp_path / "trioet.service")) == []


@needs_analyze
def test_systemd_rates_the_system_unit_safe(program: Path, tmp_path: Path) -> None:
    """From 0, exposed to nothing, to 10; a threshold of 20 is 2.0."""
    (tmp_path / "trioet.service").write_text(service_unit("system"))
    analyzed("security", "--offline=true", "--threshold=20", str(tmp_path / "trioet.service"))


@needs_analyze
def test_systemd_finds_no_fault_with_what_the_options_make_of_the_units(
    program: Path, tmp_path: Path
) -> None:
    words = ["--bind", "::1", "--config", "/etc/50% 'a'.toml", "--relay-to", "[2001:db8::/32]:*"]
    (tmp_path / "trioet.service").write_text(service_unit("system", words))
    (tmp_path / "trioet.socket").write_text(
        socket_unit(["127.0.0.1:443", "[::]:443", "[fe80::1]:443%%eth0"])
    )
    complaints = analyzed(
        "verify", str(tmp_path / "trioet.service"), str(tmp_path / "trioet.socket")
    )
    assert complaints == []


def test_addresses_of_ipv6_do_not_take_those_of_ipv4_with_them() -> None:
    assert "BindIPv6Only" not in settings(socket_unit(["2022"]))
    both = settings(socket_unit(["0.0.0.0:2022", "[::]:2022"]))
    assert both["ListenStream"] == ["0.0.0.0:2022", "[::]:2022"]
    assert both["BindIPv6Only"] == ["ipv6-only"]


def analyzed(*arguments: str) -> list[str]:
    """What systemd-analyze says against our units; its status must be 0."""
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if "trioet" in line]
