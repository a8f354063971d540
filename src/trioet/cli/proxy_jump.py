"""The jumphosts that ssh's own configuration names, for `--jump auto`."""

from __future__ import annotations

import shutil

from trioet.bootstrap.jump import Jump, parse_jumps
from trioet.bootstrap.spawn import SshTarget, spawn_ssh_config, ssh_config_argv
from trioet.errors import StepFailed


def jumps_of_ssh(target: SshTarget) -> tuple[Jump, ...]:
    """The jumphosts of ssh's ProxyJump; none if there is none.

    Raises:
      StepFailed: ssh rejects its configuration.
      UsageError: ProxyJump names no hosts.
    """
    found = _proxy_jump(target)
    return parse_jumps(found) if found else ()


def _proxy_jump(target: SshTarget) -> str | None:
    if shutil.which("ssh") is None:
        from trioet.bootstrap.asyncssh_config import read_config

        return read_config(target).proxy_jump
    from trioet.bootstrap.ssh_config import parse_ssh_config

    running = spawn_ssh_config(ssh_config_argv(target), target.host)
    with open(running.output, "rb") as output:
        answer = output.read()
    if running.process.wait() != 0:
        what = f"ssh rejects its configuration for {target.host}"
        raise StepFailed("ssh", what, f"`ssh -G {target.host}` says why")
    return parse_ssh_config(answer).proxy_jump
