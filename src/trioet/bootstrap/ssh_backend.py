"""Who speaks ssh for us: the user's own program, or asyncssh."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from trioet.bootstrap import hops, openssh
from trioet.bootstrap.hops import Route
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.jump import Jump
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_config import SshConfig
from trioet.wire.forward import Address


class OpenRelays(Protocol):
    """:func:`trioet.bootstrap.hops.open_relays`, or its like."""

    async def __call__(
        self,
        jumps: Sequence[Jump],
        destination: Address,
        *,
        config_file: str | None = None,
        verbose: int = 0,
        quiet: bool = False,
    ) -> Route: ...


class Backend(NamedTuple):
    """What a session wants of it once there is an invitation, for its jumphosts."""

    fetch_ssh_config: Callable[[SshTarget], Awaitable[SshConfig]]
    visit: Callable[[SshTarget, str, bytes], Awaitable[Invitation]]
    open_relays: OpenRelays


OPENSSH = Backend(openssh.fetch_ssh_config, openssh.run, hops.open_relays)


def asyncssh_backend() -> Backend:
    """asyncssh, which takes 200 ms to import."""
    from trioet.bootstrap import asyncssh_bridge, asyncssh_hops

    return Backend(asyncssh_bridge.fetch_ssh_config, asyncssh_bridge.run, asyncssh_hops.open_relays)
