"""`trioet connect`: start ssh at once, and all the rest while it shakes hands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trioet.bootstrap.credentials import DEFAULT_TERM, bootstrap_line, new_credentials
from trioet.bootstrap.spawn import (
    spawn_ssh,
    spawn_ssh_config,
    ssh_argv,
    ssh_choices,
    ssh_config_argv,
)
from trioet.cli.connect_options import ConnectOptions, SshBackend, parse
from trioet.cli.ending import hold_signals
from trioet.cli.importing import imported
from trioet.errors import LocalError, StepFailed
from trioet.server.places import make_runtime_dir

LEADS_NOWHERE: Final = ("LogLevel=", "ControlMaster=", "ControlPath=")
"""Options for ssh that make no difference to where it gets."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from trioet.bootstrap.spawn import RunningSsh
    from trioet.cli.connected import RunSession


def main(argv: list[str]) -> int:
    """Open a session; return its exit status."""
    options = parse(argv)._replace(term=os.environ.get("TERM") or DEFAULT_TERM)
    return log_in(options, _session)


def _session() -> RunSession:
    from trioet.cli.connected import run_session

    return run_session


def log_in(options: ConnectOptions, session: Callable[[], RunSession]) -> int:
    """Have ssh bring a key to both ends, and run a session with it; return its exit status.

    ``session`` imports what runs it, while ssh shakes hands.

    Raises:
      StepFailed: there is none; says which step failed and what to do.
    """
    try:
        return _connect_through_jumphosts(options, session)
    except StepFailed as error:
        if error.step in ("session", "pipe"):
            raise  # there was one, or nearly: the way there is all right
        hint = f"{error.hint}\n        " if error.hint else ""
        hint += f"`{_doctor(options)}` looks for the cause"
        raise StepFailed(error.step, error.what, hint) from error


def _doctor(options: ConnectOptions) -> str:
    """The command line that looks at the same way."""
    import shlex  # only those who are not let in need it

    ports = () if options.port is None else (options.port, *options.more_ports)
    port = ("-p", ",".join(map(str, ports))) if ports else ()
    way = ("--jump", "auto") if options.jumps is None else ("--srv",) if options.srv else ()
    target = options.ssh_target
    leading = [each for each in target.options if not each.startswith(LEADS_NOWHERE)]
    choices = ssh_choices(target._replace(options=tuple(leading)))
    return shlex.join(["trioet", "doctor", *choices, *way, *port, options.host])


def _connect_through_jumphosts(options: ConnectOptions, session: Callable[[], RunSession]) -> int:
    with jumphosts_found(options) as found:
        return _connect(found, session)


@contextmanager
def jumphosts_found(options: ConnectOptions) -> Iterator[ConnectOptions]:
    """The options with every jumphost named, and each to be logged in to once.

    Raises:
      StepFailed: there is no ssh, or it rejects its configuration.
      UsageError: ProxyJump names no hosts.
    """
    if options.jumps is None:
        from trioet.cli.proxy_jump import jumps_of_ssh

        options = options._replace(jumps=jumps_of_ssh(options.ssh_target))
    if not options.jumps or not _has_ssh(options):
        yield options
        return
    # Only for those who want it: ssh is to be started at once.
    from trioet.bootstrap.ssh_sharing import shared_logins

    hosts = [jump.host for jump in options.jumps]
    with shared_logins(options.config_file, hosts, _private_place()) as config_file:
        yield options._replace(config_file=config_file)


def _connect(options: ConnectOptions, session: Callable[[], RunSession]) -> int:
    line = bootstrap_line(new_credentials(), options.term)
    target = options.ssh_target
    if options.ssh_backend is SshBackend.ASYNCSSH:
        return _without_ssh(options, line, session)
    hold_signals()
    try:
        ssh = spawn_ssh(ssh_argv(target, options.remote_command), line, options.host)
    except StepFailed:
        if options.ssh_backend is not None:
            raise
        return _without_ssh(options, line, session)  # there is no ssh program
    config = spawn_ssh_config(ssh_config_argv(target), options.host)
    # Only now: Trio, libsodium and protobuf take as long to import as ssh to shake hands.
    connect_by_openssh, run = imported(lambda: (_by_openssh(), session()))
    return connect_by_openssh(options, ssh, config, run)


def _by_openssh() -> Callable[[ConnectOptions, RunningSsh, RunningSsh, RunSession], int]:
    from trioet.cli.connected import connect_by_openssh

    return connect_by_openssh


def _has_ssh(options: ConnectOptions) -> bool:
    """Whether an ssh program gets there; else asyncssh does."""
    import shutil  # only those with jumphosts need it here

    return options.ssh_backend is not SshBackend.ASYNCSSH and shutil.which("ssh") is not None


def _private_place() -> str:
    """Our directory for sockets; empty if there can be none."""
    try:
        return make_runtime_dir()
    except LocalError:
        return ""


def _without_ssh(options: ConnectOptions, line: bytes, session: Callable[[], RunSession]) -> int:
    from trioet.cli.connected import connect_by_asyncssh

    return connect_by_asyncssh(options, line, session())
