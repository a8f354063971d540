"""Ask every jumphost for a relay, so that a session's connections can go through them.

From the last to the first, for each must be told where the next one listens. Nothing secret
goes there: a relay's id is all that a jumphost ever has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from trioet.bootstrap.jump import Jump, ssh_jumps
from trioet.bootstrap.openssh import fetch_ssh_config, finish, read_answer
from trioet.bootstrap.relay_line import relay_line
from trioet.bootstrap.relay_offer import RelayOffer, RelayReader
from trioet.bootstrap.remote_command import relay_command
from trioet.bootstrap.spawn import SshTarget, spawn_ssh, ssh_argv
from trioet.bootstrap.ssh_config import SshConfig
from trioet.errors import TrioetError
from trioet.link.chain import Hop
from trioet.wire.forward import Address


@dataclass(frozen=True, slots=True)
class Route:
    """A way through relays: where it begins, and which relays to ask for, the first first."""

    begins: Address
    address_family: str
    hops: tuple[Hop, ...]


async def open_relays(
    jumps: Sequence[Jump],
    destination: Address,
    *,
    config_file: str | None = None,
    verbose: int = 0,
    quiet: bool = False,
) -> Route:
    """Have relays made on all of ``jumps``, the last of which leads to ``destination``.

    ``quiet``: nothing of ssh's is shown. Cancellation ends every ssh; relays that
    were made already stay, and are found again by whoever asks for the same.

    Raises:
      StepFailed: a jumphost cannot be reached by ssh, has no trioet, or allows no relay.
      PeerError: what came from one makes no sense.
    """
    targets = [
        SshTarget(
            jump.host,
            user=jump.user,
            config_file=config_file,
            options=(f"Port={jump.ssh_port}",) if jump.ssh_port else (),
            verbose=verbose,
            jumps=ssh_jumps(jumps[:index]),
        )
        for index, jump in enumerate(jumps)
    ]
    configs = await _all_configs(targets)
    leads_to, hops = destination, []
    for jump, target, config in reversed(list(zip(jumps, targets, configs, strict=True))):
        offer = await _ask(jump, target, leads_to, quiet=quiet)
        leads_to = Address(config.hostname, jump.port or offer.port)
        hops.append(Hop(jump.host, offer.relay_id.encode(), own_door=offer.router is False))
    return Route(leads_to, configs[0].address_family, tuple(reversed(hops)))


async def _ask(jump: Jump, target: SshTarget, leads_to: Address, *, quiet: bool) -> RelayOffer:
    command = relay_command(server_fifo=jump.server_fifo, port=jump.port)
    line = relay_line(leads_to.host, leads_to.port)
    running = spawn_ssh(ssh_argv(target, command), line, target.host, quiet=quiet)
    offer = await read_answer(running, RelayReader(target.host))
    await finish(running)
    return offer


async def _all_configs(targets: Sequence[SshTarget]) -> list[SshConfig]:
    found: dict[int, SshConfig] = {}
    failures: list[TrioetError] = []

    async def fetch(index: int, target: SshTarget) -> None:
        try:
            found[index] = await fetch_ssh_config(target)
        except TrioetError as error:  # carried out, not thrown: a nursery would wrap it
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for index, target in enumerate(targets):
            nursery.start_soon(fetch, index, target)
    if failures:
        raise failures[0]
    return [found[index] for index in range(len(targets))]
