from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trioet.proxy.units import UNITS, print_unit


def command(unit: str) -> str:
    """What the unit runs."""
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=")


@pytest.mark.parametrize("kind", sorted(UNITS))
def test_a_unit_runs_the_proxy_that_was_described(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "trioet")])
    monkeypatch.chdir(tmp_path)
    arguments = ["--listen", "*:1", "--to", "db:2", "--via", "gw", "-F", "a b", "--key-file=k"]
    unit = print_unit(kind, arguments, "1 to 2")
    words = shlex.split(command(unit))
    assert words[0].endswith("/trioet")
    assert words[1:] == [
        *["proxy", "--listen", "*:1", "--to", "db:2", "--via", "gw"],
        *["-F", os.path.join(tmp_path, "a b"), f"--key-file={tmp_path}/k"],
    ]
    assert "Type=notify" in unit
    assert "Restart=on-failure" in unit


def test_a_file_may_follow_its_option_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unit = print_unit("user", ["-Fconf", "-iid", "-F", "none", "-Fnone"], "1 to 2")
    assert shlex.split(command(unit))[2:] == [
        *[f"-F{tmp_path}/conf", f"-i{tmp_path}/id", "-F", "none", "-Fnone"],
    ]


def test_what_systemd_would_replace_is_told_to_stay(tmp_path: Path) -> None:
    unit = print_unit("user", ["-o", "User=a%b$c'd"], "100%")
    assert '-o "User=a%%b$$c\'d"' in command(unit)
    assert "Description=trioet proxy, 100%%\n" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(("kind", "manager"), [("system", "--system"), ("user", "--user")])
def test_systemd_finds_no_fault_with_them(
    kind: str,
    manager: str,
    tmp_path: Path,
    runtime_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "trioet"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    unit = tmp_path / "trioet-proxy.service"
    arguments = ["--listen", "eternal:*:1", "--to", "db:2", "--key-file", "a 'key' for 50%"]
    unit.write_text(print_unit(kind, arguments, "1 to 2"))
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", manager, "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "trioet" in line] == []
