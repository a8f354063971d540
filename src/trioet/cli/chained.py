"""The way of a session's connections through jumphosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from trioet.bootstrap.hops import Route
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.jump import Jump
from trioet.bootstrap.ssh_backend import Backend
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.connect_options import DEFAULT_PORT, ConnectOptions
from trioet.errors import StepFailed, TrioetError
from trioet.link.chain import Chain
from trioet.link.dial import dial
from trioet.link.line import Line
from trioet.wire.forward import Address

RENEW_PAUSE_S: Final = 30.0
MAX_RENEW_PAUSE_S: Final = 600.0
"""Between two times that jumphosts are asked for new relays: each is a login by ssh."""


class ChainedWay:
    """A way through jumphosts. ``renew`` asks them again, without asking the user."""

    def __init__(self, route: Route, renew: Callable[[], Awaitable[Route]]) -> None:
        self.route = route
        self._renew = renew
        self._gone = trio.Event()
        self._chain = Chain(route.hops)
        self._chain.on_gone = lambda: self._gone.set()
        self.name = f"through {', '.join(hop.name for hop in route.hops)}"

    async def dial(self) -> Line:
        """Open a connection for the session.

        Raises:
          OSError, LineBroken: it cannot be had.
        """
        first = self.route.begins
        return await self._chain.dial(
            lambda: dial(first.host, first.port, self.route.address_family)
        )

    async def keep_open(self, renewed: Callable[[], None]) -> None:
        """Have new relays made when a jumphost has forgotten its own; until cancelled.

        ``renewed`` is called when there are.
        """
        pause = RENEW_PAUSE_S
        while True:
            await self._gone.wait()
            try:
                self.route = await self._renew()
            except TrioetError as error:
                self._chain.complaint = f"asked again by ssh: {str(error).splitlines()[0]}"
                pause = min(2 * pause, MAX_RENEW_PAUSE_S)
            else:
                self._chain.hops, self._chain.complaint = self.route.hops, ""
                pause = RENEW_PAUSE_S
                renewed()
            await trio.sleep(pause)
            self._gone = trio.Event()


async def find_chain(
    options: ConnectOptions,
    jumps: Sequence[Jump],
    config: SshConfig,
    invitation: Invitation,
    ssh: Backend,
) -> ChainedWay:
    """Have relays made on the jumphosts.

    Raises:
      StepFailed, PeerError: as :func:`trioet.bootstrap.hops.open_relays`.
    """
    port = options.port or invitation.port or DEFAULT_PORT
    destination = Address(config.hostname, port)

    async def renew() -> Route:
        return await ssh.open_relays(
            jumps, destination, config_file=options.config_file, quiet=True
        )

    route = await ssh.open_relays(
        jumps, destination, config_file=options.config_file, verbose=options.verbose
    )
    return ChainedWay(route, renew)


def cannot_relay(why: str, where: str, way: ChainedWay) -> StepFailed:
    """The error for a chain whose first connection failed."""
    first = way.route.begins
    return StepFailed(
        "connect",
        f"ssh works, but {where} cannot be reached {way.name}: {why}",
        f"from here, {first.host} port {first.port} must be open in the firewalls between; from "
        "each host to the next its trioet server's port",
    )
