"""The way of a session's connections: straight there, or through jumphosts."""

from __future__ import annotations

from trioet.bootstrap.hops import Route, open_relays
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.jump import parse_jumps
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.connect_options import DEFAULT_PORT, ConnectOptions
from trioet.errors import StepFailed
from trioet.link.chain import dial_through
from trioet.link.dial import dial
from trioet.link.line import Line
from trioet.wire.forward import Address


async def find_route(
    options: ConnectOptions, config: SshConfig, invitation: Invitation
) -> Route | None:
    """Have relays made on the jumphosts, if the user wants any; None: straight there.

    Raises:
      StepFailed, PeerError, UsageError: as :func:`open_relays`, or ssh's ProxyJump is none.
    """
    jumps = options.jumps
    if jumps is None:
        jumps = parse_jumps(config.proxy_jump) if config.proxy_jump else ()
    if not jumps:
        return None
    port = options.port or invitation.port or DEFAULT_PORT
    return await open_relays(
        jumps,
        Address(config.hostname, port),
        config_file=options.config_file,
        verbose=options.verbose,
    )


async def reach(config: SshConfig, port: int, route: Route | None) -> Line:
    """Open a connection for the session.

    Raises:
      OSError, LineBroken: it cannot be had.
    """
    if route is None:
        return await dial(config.hostname, port, config.address_family)
    first = route.begins
    return await dial_through(
        route.hops, lambda: dial(first.host, first.port, route.address_family)
    )


def cannot_relay(why: str, where: str, route: Route) -> StepFailed:
    """The error for a chain whose first connection failed."""
    first = route.begins
    through = ", ".join(hop.name for hop in route.hops)
    return StepFailed(
        "connect",
        f"ssh works, but {where} cannot be reached through {through}: {why}",
        f"from here, {first.host} port {first.port} must be open in the firewalls between; from "
        "each host to the next its trioet server's port",
    )
