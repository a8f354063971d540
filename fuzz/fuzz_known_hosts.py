"""The files of known hosts, where no ssh reads them for us: bootstrap/asyncssh_host_keys.py."""

from __future__ import annotations

import os

from harness import Target, instrumented

with instrumented("asyncssh"):
    from trioet.bootstrap.asyncssh_host_keys import Hop, HostKeys
    from trioet.bootstrap.known_hosts import hashed_name
    from trioet.bootstrap.ssh_config import SshConfig


FILE = os.memfd_create("known_hosts")
CONFIG = SshConfig("example.org", user_known_hosts=(f"/proc/self/fd/{FILE}",))
KEY = (
    "ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIJ7zdQ5cGOlDYlMdLYuSsV8YkT7S7GfG8u0p9b9yHqPk someone@example.org"
)


def take(data: bytes) -> None:
    os.ftruncate(FILE, 0)
    os.pwrite(FILE, data, 0)
    keys = HostKeys(Hop("example.org", CONFIG))
    keys.load()
    keys.known.match("example.org", "192.0.2.1", None)
    keys.known.match("example.org", "", 2222)


TARGET = Target(
    take,
    seeds=[
        f"example.org,192.0.2.1 {KEY}\n".encode(),
        f"[example.org]:2222 {KEY}\n# a comment\n\n".encode(),
        f"{hashed_name('example.org', bytes(20))} {KEY}\n".encode(),
        f"@revoked *.example.org,!a.example.org {KEY}\n".encode(),
        f"@cert-authority ?.example.org {KEY}\r\nhalf a line".encode(),
        b"example.org 0\0\nexample.org subject=CN=example.org\n192.0.2.0/24 " + KEY.encode(),
        b"example.org x509v3-ssh-rsa MAMCAQE= a certificate of no sort\n",
        b"example.org ssh-rsa AAAAB3NzaC1yc2EAAAABAwAAAAEJ\n",
        b"* ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAAABBA==\n",
    ],
    refusals=(),
)

if __name__ == "__main__":
    TARGET.run()
