"""`trioet connect`: start ssh at once, and all the rest while it shakes hands."""

from __future__ import annotations

import os
import shlex

from trioet.bootstrap.credentials import DEFAULT_TERM, bootstrap_line, new_credentials
from trioet.bootstrap.spawn import (
    spawn_ssh,
    spawn_ssh_config,
    ssh_argv,
    ssh_choices,
    ssh_config_argv,
)
from trioet.cli.connect_options import ConnectOptions, SshBackend, parse
from trioet.errors import StepFailed


def main(argv: list[str]) -> int:
    """Open a session; return its exit status."""
    options = parse(argv)
    try:
        return _connect(options)
    except StepFailed as error:
        if error.step == "session":
            raise  # there was one, or nearly: the way there is all right
        hint = f"{error.hint}\n        " if error.hint else ""
        hint += f"`{_doctor(options)}` looks for the cause"
        raise StepFailed(error.step, error.what, hint) from error


def _doctor(options: ConnectOptions) -> str:
    """The command line that looks at the same way."""
    port = ("-p", str(options.port)) if options.port is not None else ()
    return shlex.join(["trioet", "doctor", *ssh_choices(options.ssh_target), *port, options.host])


def _connect(options: ConnectOptions) -> int:
    line = bootstrap_line(new_credentials(), os.environ.get("TERM") or DEFAULT_TERM)
    target = options.ssh_target
    if options.ssh_backend is SshBackend.ASYNCSSH:
        return _without_ssh(options, line)
    try:
        ssh = spawn_ssh(ssh_argv(target, options.remote_command), line, options.host)
    except StepFailed:
        if options.ssh_backend is not None:
            raise
        return _without_ssh(options, line)  # there is no ssh program
    config = spawn_ssh_config(ssh_config_argv(target), options.host)
    # Only now: Trio, libsodium and protobuf take as long to import as ssh to shake hands.
    from trioet.cli.connected import connect_by_openssh

    return connect_by_openssh(options, ssh, config)


def _without_ssh(options: ConnectOptions, line: bytes) -> int:
    from trioet.cli.connected import connect_by_asyncssh

    return connect_by_asyncssh(options, line)
