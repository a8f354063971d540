"""Ask every jumphost for a relay, without an ssh program.

One login for each, for all of them: each is asked over the connection that leads on to the next.
Import it only when needed: asyncssh takes 200 ms. Part of the asyncssh bridge.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncssh
import trio

from trioet.bootstrap.asyncio_border import in_asyncio
from trioet.bootstrap.asyncssh_bridge import (
    all_logged_in,
    fetch_ssh_config,
    find_route,
    read_answer,
)
from trioet.bootstrap.asyncssh_host_keys import Hop
from trioet.bootstrap.hops import Questions, Route, hop_targets, relay_questions
from trioet.bootstrap.jump import Jump
from trioet.bootstrap.openssh import INVITATION_DEADLINE_S
from trioet.errors import StepFailed
from trioet.wire.forward import Address


async def open_relays(
    jumps: Sequence[Jump],
    destination: Address,
    *,
    config_file: str | None = None,
    verbose: int = 0,
    quiet: bool = False,
) -> Route:
    """Have relays made on all of ``jumps``, as :func:`trioet.bootstrap.hops.open_relays`.

    Cancellation closes the connections; relays that were made already stay.

    Raises:
      StepFailed: a jumphost cannot be reached by ssh, has no trioet, or allows no relay.
      PeerError: what came from one makes no sense.
    """
    last = hop_targets(jumps, config_file, verbose)[-1]
    way = await find_route(last, await fetch_ssh_config(last), asks=not quiet)
    configs = [hop.config for hop in way[-len(jumps) :]]
    questions = relay_questions(jumps, configs, destination)
    with trio.move_on_after(INVITATION_DEADLINE_S):
        return await in_asyncio(lambda: _ask_all(way, len(way) - len(jumps), questions))
    what = f"the jumphosts {', '.join(map(str, jumps))} took over {INVITATION_DEADLINE_S:g} s"
    raise StepFailed("ssh", what, "does a start-up file of a shell there wait for something?")


async def _ask_all(way: list[Hop], before: int, questions: Questions) -> Route:
    """In asyncio. ``before`` so many hosts are passed that are asked for nothing."""
    async with all_logged_in(way) as connections:
        question = next(questions)
        while True:
            hop = way[before + question.hop]
            connection = connections[before + question.hop]
            try:
                offer = await read_answer(
                    connection, hop, question.command, question.line, question.reader
                )
            except (asyncssh.Error, OSError) as error:
                what = f"the connection to {hop} was lost before it had a relay"
                raise StepFailed("ssh", what, f"does `ssh {hop} true` work?") from error
            try:
                question = questions.send(offer)
            except StopIteration as end:
                route: Route = end.value
                return route
