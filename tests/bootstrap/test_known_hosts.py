from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trioet.bootstrap.known_hosts import hashed_name, known_host_name, remember_host
from trioet.errors import StepFailed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmFJlz9Rp4iTgIp8ZSjoI8ct7FWFsTJ2FXbBEQ0uhNr comment\n"


def found(path: Path, name: str) -> bool:
    """Whether OpenSSH finds the host in the file."""
    command = ["ssh-keygen", "-F", name, "-f", str(path)]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("port", [22, 2200])
@pytest.mark.parametrize("hashing", [True, False])
def test_ssh_finds_what_was_remembered(tmp_path: Path, port: int, hashing: bool) -> None:
    path = tmp_path / "new" / "known_hosts"
    name = known_host_name("box.example.org", port)

    remember_host(path, hashed_name(name) if hashing else name, KEY)

    assert found(path, name)
    assert not found(path, known_host_name("other", port))
    assert ("box" in path.read_text()) == (not hashing)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_there_stays_even_if_its_last_line_had_no_end(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"first {KEY}".rstrip())

    remember_host(path, "second", KEY)
    remember_host(path, "third", KEY)

    assert all(found(path, name) for name in ("first", "second", "third"))
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"cannot be remembered in .*: Is a directory"):
        remember_host(tmp_path, "box", KEY)
