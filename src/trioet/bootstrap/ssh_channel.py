"""What a way through ssh needs from whoever speaks ssh: a channel, or why there is none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import trio

from trioet.bootstrap.remote_command import EXIT_MISSING, NOBODY
from trioet.errors import TrioetError
from trioet.link.line import NOTSENT_LOWAT, RECEIVE_SIZE

MAX_NOISE: Final = 1024 * 1024
"""Bytes that start-up files may print before `trioet stdio` speaks."""

MAX_REASON: Final = 200
"""Characters of ssh's last words that are shown."""

FORBIDDEN: Final = ("prohibited", "forwarding failed", "forwarding request failed")
UNREACHABLE: Final = "connect failed"
"""What ssh says of a channel that sshd does not open because it may not, and because nobody
listens at its end (clientloop.c, mux.c; the first are said of both)."""

DENIED: Final = "Permission denied ("


class SshFailed(TrioetError):
    """ssh opened no channel to the server; says why, in a few words."""


class SshNeedsUser(SshFailed):
    """ssh would have to ask something; ``methods`` are sshd's words for what it takes."""

    def __init__(self, methods: str) -> None:
        super().__init__(f"ssh would have to ask you ({methods})")
        self.methods = methods


class Forbidden(SshFailed):
    """sshd does not forward to there."""


class NobodyThere(SshFailed):
    """Nobody listens at the port."""


class End(NamedTuple):
    """Where a channel shall lead on the far side: to ``port``, by ``command`` if there is one."""

    port: int
    command: str = ""


class Manner(NamedTuple):
    """How ssh is to get there."""

    shared: bool = True
    """Over a connection that others share, if there is one."""

    asks: bool = False
    """It may ask the user, on the terminal."""


class Channel(Protocol):
    """A channel that is being opened, or is open."""

    @property
    def socket(self) -> socket.socket:
        """Our end of it."""

    async def run(self) -> None:
        """Carry what goes through it, until closed or cancelled."""

    def close(self) -> None:
        """End it, soon. Idempotent."""

    async def failure(self) -> SshFailed:
        """Why it has ended."""


OpenChannel = Callable[[End, Manner], Channel]
"""Begin to open a channel to an end.

Raises SshFailed: that cannot even begin.
"""


def channel_sockets() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel on this side: ours, and that of whoever speaks ssh."""
    ours, its = socket.socketpair()
    # No larger than what else a line hands over and cannot take back; Linux doubles it.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * NOTSENT_LOWAT)
    ours.setblocking(False)
    return ours, its


async def greet(channel: Channel, ready: bytes, greeting: bytes) -> bytes:
    """Wait for ``ready``, if any, say ``greeting`` and return what is answered.

    Cancellation leaves the channel to be closed.

    Raises:
      SshFailed: it did not open, or has ended.
    """
    ours = trio.socket.from_stdlib_socket(channel.socket)
    noise = b""
    while ready not in noise:
        data = await _receive(ours)
        if not data or len(noise) > MAX_NOISE:
            raise await channel.failure()
        noise += data
    try:
        await ours.send(greeting)
    except OSError:
        raise await channel.failure() from None
    answer = noise.partition(ready)[2] if ready else b""
    answer = answer or await _receive(ours)
    if not answer:
        raise await channel.failure()
    return answer


async def _receive(ours: trio.socket.SocketType) -> bytes:
    try:
        return await ours.recv(RECEIVE_SIZE)
    except ConnectionError:
        return b""


def explained(said: Sequence[str], status: int | None) -> SshFailed:
    """What the last words of ssh mean, and its exit status; None if it goes on."""
    everything = "\n".join(said)
    if status == EXIT_MISSING:
        return SshFailed("sshd forbids to forward, and there is no trioet to do it instead")
    if DENIED in everything:
        return SshNeedsUser(everything.rpartition(DENIED)[2].partition(")")[0])
    if UNREACHABLE in everything:
        return nobody_there(everything.partition(UNREACHABLE)[2].partition("\n")[0].strip(": "))
    if any(words in everything for words in FORBIDDEN):
        return Forbidden(said[-1][-MAX_REASON:])
    if NOBODY in everything:
        return NobodyThere(said[-1][-MAX_REASON:])
    if said:
        return SshFailed(said[-1][-MAX_REASON:])
    if not status:
        return SshFailed("the server closed the connection")
    return SshFailed(f"ssh ended with exit status {status}")


def nobody_there(reason: str) -> NobodyThere:
    """The error for a port of the far side that nobody listens at."""
    return NobodyThere(f"nothing answers at its port there: {reason.lower()}")
