"""Files of known hosts, read by asyncssh: lines that it cannot read are passed over."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from trioet.bootstrap.asyncssh_host_keys import Hop, HostKeys
from trioet.bootstrap.ssh_config import SshConfig

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmFJlz9Rp4iTgIp8ZSjoI8ct7FWFsTJ2FXbBEQ0uhNr comment"

UNREADABLE = {
    "half a line": "box",
    "a marker it does not know": f"@trusted box {KEY}",
    "a hash that is none": f"|1|salt {KEY}",
    "a key of another sort": "box ssh-rot13 AAAA",
    "a certificate of no sort": "box x509v3-ssh-rsa MAMCAQE= comment",
    "bytes like an X.509 certificate": "box 0\0",
    "a key with no point": "box ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAAABBA==",
    "a key with a negative number": "box ssh-rsa AAAAB3NzaC1yc2EAAAAB8wAAAAEJ",
    "no text": "\udcff\udc80\0",
}


def host_keys(*paths: Path) -> HostKeys:
    config = SshConfig("box", user_known_hosts=tuple(map(str, paths)))
    made = HostKeys(Hop("box", config))
    made.load()
    return made


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_cannot_be_read_hides_no_other(tmp_path: Path, line: str) -> None:
    path = tmp_path / "known_hosts"
    lines = [f"before {KEY}", line, f"box {KEY}"]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))

    known = host_keys(path).known

    key = asyncssh.import_public_key(KEY)
    assert known.match("before", "", None)[0] == [key]
    assert known.match("box", "", None)[0] == [key]


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"box {KEY}\n")

    known = host_keys(tmp_path / "none", tmp_path, path).known

    assert known.match("box", "", None)[0]
