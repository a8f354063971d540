"""ET's jumphost, from the client's side: a second visit by ssh, before the session is had.

The session has been opened at its destination. Then the jumphost is asked, by its etterminal,
to expect a client with the same id and key, and to carry what it says to the destination
(Eternal Terminal specification 6.1). ET has the key on the command line, where every user of
the jumphost can read it; here it is on stdin, as everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from trioet.bootstrap.credentials import TRIOET_IS_HERE, Credentials, bootstrap_line
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.remote_command import jump_command
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import PeerError

ET_PORT: Final = 2022

Visit = Callable[[SshTarget, str, bytes], Awaitable[Invitation]]
"""``run`` of trioet.bootstrap.openssh or asyncssh_bridge."""


class EtJumphost(NamedTuple):
    """A jumphost that expects us."""

    host: str
    port: int
    is_trioet: bool
    """It passes on what the destination answers at first, which real ones do not."""


async def expect_at_jumphost(
    visit: Visit,
    target: SshTarget,
    session: Invitation,
    destination: tuple[str, int],
    *,
    host: str,
    port: int | None = None,
    terminal_path: str | None = None,
    server_fifo: str | None = None,
    kill_other_sessions: bool = False,
) -> EtJumphost:
    """Have the jumphost at ``target`` carry ``session`` to ``destination``.

    ``destination`` is where the server is as the jumphost sees it. ``host`` is where connections
    to the jumphost go; ``port`` as well, else what it says, else ET's. Cancellation ends ssh; the
    jumphost drops after a while what nobody comes for.

    Raises:
      StepFailed: ssh failed, or the jumphost has no etterminal, or that failed.
      PeerError: its answer makes no sense.
      UsageError: something here cannot be written into a command line.
    """
    command = jump_command(
        *destination,
        terminal_path=terminal_path,
        server_fifo=server_fifo,
        kill_other_sessions=kill_other_sessions,
    )
    credentials = Credentials(session.client_id, session.passkey)
    answer = await visit(target, command, bootstrap_line(credentials, TRIOET_IS_HERE))
    if answer[:2] != session[:2]:
        raise PeerError(f"the jumphost {target.host} answered for another session")
    return EtJumphost(host, port or answer.port or ET_PORT, answer.version is not None)
