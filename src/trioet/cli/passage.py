"""How a session passes the jumphosts that the user named."""

from __future__ import annotations

from typing import NamedTuple

from trioet.bootstrap.et_jump import EtJumphost, expect_at_jumphost
from trioet.bootstrap.invitation import Invitation, Missing
from trioet.bootstrap.jump import Jump
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_backend import Backend
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.chained import ChainedWay, find_chain
from trioet.cli.connect_options import DEFAULT_PORT, ConnectOptions
from trioet.cli.way_options import Via
from trioet.errors import StepFailed


class Passage(NamedTuple):
    """What jumphosts are ready for: relays, or ET's kind of jump, or nothing but ssh."""

    chain: ChainedWay | None = None
    et_jumphost: EtJumphost | None = None
    only_ssh: bool = False
    notice: str = ""
    """What the user is to know of it."""


async def find_passage(
    options: ConnectOptions, config: SshConfig, invitation: Invitation, ssh: Backend
) -> Passage:
    """Make the jumphosts ready, if the user named any.

    One that has nothing but Eternal Terminal is used as that knows it. What jumphosts carry
    in neither way, ssh does, which goes through them in any case.

    Raises:
      StepFailed, PeerError: they are not to be had, and ssh is not to carry the session.
    """
    jumps = options.jumps
    if not jumps or options.via is Via.SSH:
        return Passage()
    try:
        return Passage(chain=await find_chain(options, jumps, config, invitation, ssh))
    except StepFailed as error:
        failure = error
    if isinstance(failure, Missing) and len(jumps) == 1:
        try:
            return await _ask_et(options, jumps[0], config, invitation, ssh)
        except Missing:
            pass  # nor an etterminal
    if options.via is Via.DIRECT:
        raise failure
    return Passage(only_ssh=True, notice=f"{failure.what}: the session goes through ssh")


async def _ask_et(
    options: ConnectOptions,
    jump: Jump,
    config: SshConfig,
    invitation: Invitation,
    ssh: Backend,
) -> Passage:
    target = SshTarget(
        jump.host,
        user=jump.user,
        config_file=options.config_file,
        options=(f"Port={jump.ssh_port}",) if jump.ssh_port else (),
        verbose=options.verbose,
    )
    host = await ssh.fetch_ssh_config(target)
    port = options.port or invitation.port or DEFAULT_PORT
    jumphost = await expect_at_jumphost(
        ssh.visit,
        target,
        invitation,
        (config.hostname, port),
        host=host.hostname,
        port=jump.port,
        server_fifo=jump.server_fifo,
        kill_other_sessions=options.kill_other_sessions,
    )
    return Passage(
        et_jumphost=jumphost,
        notice=f"{jump.host} has Eternal Terminal's kind of jumphost, which reads the session; "
        "--via ssh does without it",
    )
