"""`trioet connect`: start ssh at once, and all the rest while it shakes hands."""

from __future__ import annotations

import os
import shutil

from trioet.bootstrap.invitation import DEFAULT_TERM, bootstrap_line, new_credentials
from trioet.bootstrap.spawn import spawn_ssh, spawn_ssh_config, ssh_argv, ssh_config_argv
from trioet.cli.connect_options import ConnectOptions, SshBackend, parse


def main(argv: list[str]) -> int:
    """Open a session; return its exit status."""
    options = parse(argv)
    line = bootstrap_line(new_credentials(), os.environ.get("TERM") or DEFAULT_TERM)
    if _backend(options) is SshBackend.ASYNCSSH:
        from trioet.cli.connected import connect_by_asyncssh

        return connect_by_asyncssh(options, line)
    target = options.ssh_target
    ssh = spawn_ssh(ssh_argv(target, options.remote_command), line, options.host)
    config = spawn_ssh_config(ssh_config_argv(target), options.host)
    # Only now: Trio, libsodium and protobuf take as long to import as ssh to shake hands.
    from trioet.cli.connected import connect_by_openssh

    return connect_by_openssh(options, ssh, config)


def _backend(options: ConnectOptions) -> SshBackend:
    if options.ssh_backend is not None:
        return options.ssh_backend
    return SshBackend.OPENSSH if shutil.which("ssh") else SshBackend.ASYNCSSH
