"""Ask every jumphost for a relay, so that a session's connections can go through them.

From the last to the first, for each must be told where the next one listens. Nothing secret
goes there: a relay's id is all that a jumphost ever has.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import trio

from trioet.bootstrap.jump import Jump, ssh_jumps
from trioet.bootstrap.openssh import fetch_ssh_config, finish, read_answer
from trioet.bootstrap.relay_line import relay_line
from trioet.bootstrap.relay_offer import RelayOffer, RelayReader
from trioet.bootstrap.remote_command import relay_command
from trioet.bootstrap.spawn import SshTarget, spawn_ssh, ssh_argv
from trioet.bootstrap.ssh_config import SshConfig
from trioet.bootstrap.ssh_sharing import quiet_config
from trioet.errors import StepFailed, TrioetError
from trioet.link.chain import Hop
from trioet.wire.forward import Address


@dataclass(frozen=True, slots=True)
class Route:
    """A way through relays: where it begins, and which relays to ask for, the first first."""

    begins: Address
    address_family: str
    hops: tuple[Hop, ...]


class Question(NamedTuple):
    """What a jumphost is to be asked: a command, and what its stdin gets. ``hop`` counts from 0."""

    hop: int
    command: str
    line: bytes
    reader: RelayReader


Questions = Generator[Question, RelayOffer, Route]
"""Question after question, each to be answered; then the way that was made by that."""


def relay_questions(
    jumps: Sequence[Jump], configs: Sequence[SshConfig], destination: Address
) -> Questions:
    """What to ask the jumphosts, of which ``configs`` is what ssh knows."""
    leads_to, hops = destination, []
    for index, jump in reversed(list(enumerate(jumps))):
        command = relay_command(server_fifo=jump.server_fifo, port=jump.port)
        line = relay_line(leads_to.host, leads_to.port)
        offer = yield Question(index, command, line, RelayReader(jump.host))
        leads_to = Address(configs[index].hostname, jump.port or offer.port)
        hops.append(Hop(jump.host, offer.relay_id.encode(), own_door=offer.router is False))
    return Route(leads_to, configs[0].address_family, tuple(reversed(hops)))


def hop_targets(
    jumps: Sequence[Jump], config_file: str | None = None, verbose: int = 0
) -> list[SshTarget]:
    """The jumphosts as ssh is to call them, each through those before it."""
    return [
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


async def open_relays(
    jumps: Sequence[Jump],
    destination: Address,
    *,
    config_file: str | None = None,
    verbose: int = 0,
    quiet: bool = False,
) -> Route:
    """Have relays made on all of ``jumps``, the last of which leads to ``destination``.

    ``quiet``: nothing of ssh's is shown, and nothing asked; ``config_file`` is one of
    :func:`trioet.bootstrap.ssh_sharing.shared_logins`. Cancellation ends every ssh; relays that
    were made already stay, and are found again by whoever asks for the same.

    Raises:
      StepFailed: a jumphost cannot be reached by ssh, has no trioet, or allows no relay.
      PeerError: what came from one makes no sense.
    """
    if quiet:
        config_file = quiet_config(config_file)
        if config_file is None:
            raise StepFailed("ssh", "ssh cannot be kept from asking questions", "connect again")
    targets = hop_targets(jumps, config_file, verbose)
    questions = relay_questions(jumps, await _all_configs(targets), destination)
    question = next(questions)
    while True:
        offer = await _ask(question, targets[question.hop], quiet=quiet)
        try:
            question = questions.send(offer)
        except StopIteration as end:
            route: Route = end.value
            return route


async def _ask(question: Question, target: SshTarget, *, quiet: bool) -> RelayOffer:
    argv = ssh_argv(target, question.command)
    running = spawn_ssh(argv, question.line, target.host, quiet=quiet)
    offer = await read_answer(running, question.reader)
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
