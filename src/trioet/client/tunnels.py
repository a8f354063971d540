"""A session's tunnels at the client: what the user asked for, and what became of it.

A server connects what comes through here, and the client what comes through there; but
only to where the user said that a tunnel leads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from trioet.bootstrap.plain import plain
from trioet.errors import StepFailed
from trioet.link.resumable import ResumableLink
from trioet.session.channel import Traffic
from trioet.session.forwards import Forwards
from trioet.session.listeners import Bound, CannotListen
from trioet.session.tunnels import Tunnel, bind
from trioet.wire.channels import ChannelOpen, TrioetChannels, Unlisten
from trioet.wire.et_channels import EtChannels
from trioet.wire.forward import LOOPBACK, Address, Endpoint, Forward, Side, Variable
from trioet.wire.forward_messages import Listen, Listening

FIRST_NUMBER: Final = 1
SERVERS_PARITY: Final = 0

NUMBERS_OF_LOOPBACK: Final = (LOOPBACK, "127.0.0.1", "::1")


@dataclass(slots=True)
class Wanted:
    """A tunnel that the user wants, and where it stands."""

    forward: Forward
    number: int
    traffic: Traffic
    tunnel: Tunnel | None = None
    """What listens on this side, if it does."""
    chosen: int = 0
    """The port, where any was asked for."""
    failure: str = ""
    bound: Bound | None = None
    """What is bound before the session begins, until it does."""


class ClientTunnels:
    """The policy of the client's end, and all tunnels of the session."""

    def __init__(
        self,
        wishes: Sequence[Forward],
        *,
        exit_on_failure: bool,
        notice: Callable[[str], None],
        fail: Callable[[StepFailed], None],
        on_credit: Callable[[int], None],
    ) -> None:
        """``exit_on_failure`` is ssh's ExitOnForwardFailure: ``fail`` hears it then, else
        ``notice``. ``on_credit`` hears what the server's program has read, in bytes."""
        self.credited = on_credit
        self._wanted: dict[int, Wanted] = {}
        self._next = 1
        for wish in wishes:
            self._want(wish)
        self._exit_on_failure = exit_on_failure
        self._notice = notice
        self._fail = fail
        self._forwards: Forwards | None = None
        self._nursery: trio.Nursery | None = None
        self._agreed = False

    def _want(self, forward: Forward) -> Wanted:
        wanted = Wanted(forward, self._next, Traffic(str(forward)))
        self._wanted[self._next] = wanted
        self._next += 1
        return wanted

    # What is said first

    @property
    def listens(self) -> tuple[Listen, ...]:
        """What a trioet server is to listen on."""
        return tuple(_listen(wanted) for wanted in self._remote())

    @property
    def reverse_tunnels(self) -> tuple[Forward, ...]:
        """What a real etserver is to listen on, as far as it can."""
        return tuple(
            wanted.forward for wanted in self._remote() if not _lacking_in_et(wanted.forward)
        )

    def _remote(self) -> Iterator[Wanted]:
        return (each for each in self._wanted.values() if each.forward.side is Side.REMOTE)

    # Their life

    async def bind(self) -> bool:
        """Have the places on this side before anything is run, as ssh has them.

        Return False if one cannot be had; :meth:`begin` says so. :meth:`close` comes later.
        """
        for wanted in self._wanted.values():
            where = wanted.forward.listen
            if wanted.forward.side is Side.REMOTE or isinstance(where, Variable):
                continue
            try:
                wanted.bound = await bind(where, datagrams=wanted.forward.datagrams)
            except CannotListen as error:
                wanted.failure = str(error)
                return False
        return True

    def close(self) -> None:
        """Give up what was bound and never used. The tunnels end with their nursery."""
        for wanted in self._wanted.values():
            if wanted.bound is not None:
                wanted.bound.close()

    def begin(self, link: ResumableLink, agreed: bool, nursery: trio.Nursery) -> Forwards:
        """The server has answered: open what listens here, in ``nursery``.

        ``agreed`` says whether it is a trioet that has channels as we do.
        """
        self._agreed = agreed
        peer = TrioetChannels() if agreed else EtChannels(SERVERS_PARITY)
        self._nursery = nursery
        self._forwards = Forwards(link, peer, self, nursery, FIRST_NUMBER)
        for wanted in list(self._wanted.values()):
            if wanted.failure:
                self._failed(wanted, wanted.failure)
            elif self._possible(wanted) and wanted.forward.side is Side.LOCAL:
                self._open(wanted)
        return self._forwards

    def _possible(self, wanted: Wanted, *, begun: bool = False) -> bool:
        """Say so if the server cannot have such a tunnel; ``begun``: no more."""
        lacking = "" if self._agreed else _lacking_in_et(wanted.forward)
        if not self._agreed and begun and wanted.forward.side is Side.REMOTE:
            lacking = "opens no more in a session that is there"
        if lacking:
            self._failed(wanted, f"a real Eternal Terminal server {lacking}")
        return not lacking

    def _open(self, wanted: Wanted) -> None:
        """Listen on this side."""
        assert self._forwards is not None, "begin() comes first"
        assert self._nursery is not None, "begin() comes first"
        forward = wanted.forward
        wanted.tunnel = Tunnel(
            wanted.traffic,
            self._forwards,
            destination=forward.destination,
            dynamic=forward.destination is None,
            datagrams=forward.datagrams,
        )
        self._nursery.start_soon(self._listen_on, wanted, wanted.tunnel)

    async def _listen_on(self, wanted: Wanted, tunnel: Tunnel) -> None:
        assert self._nursery is not None, "begin() comes first"
        where = wanted.forward.listen
        assert not isinstance(where, Variable), "refused by the command line"
        bound, wanted.bound = wanted.bound, None
        try:
            await self._nursery.start(tunnel.run, bound or where)
        except CannotListen as error:
            if wanted.number in self._wanted:  # else it was cancelled meanwhile
                self._failed(wanted, str(error))
        else:
            self._opened(wanted, tunnel.port)

    def _opened(self, wanted: Wanted, port: int) -> None:
        listen = wanted.forward.listen
        if isinstance(listen, Address) and listen.port == 0:
            self._notice(f"trioet: {wanted.forward}: listens on port {port}")
            wanted.chosen = port
            wanted.forward = replace(wanted.forward, listen=Address(listen.host, port))

    def _failed(self, wanted: Wanted, why: str) -> None:
        wanted.failure = why
        text = f"{wanted.forward}: {plain(why)}"
        if self._exit_on_failure:
            hint = "ExitOnForwardFailure is set, so the session ends here"
            self._fail(StepFailed("tunnel", text, hint))
        else:
            self._notice(f"trioet: {text}")

    # Policy

    def admit(self, message: ChannelOpen) -> tuple[Endpoint, Traffic] | None:
        """A server may connect us to where a tunnel leads, and nowhere else."""
        wanted = self._wanted.get(message.listen) if self._agreed else self._as_et(message)
        if wanted is None or wanted.forward.side is Side.LOCAL:
            return None
        if wanted.forward.datagrams != message.datagrams:
            return None
        if wanted.forward.destination is not None:
            return wanted.forward.destination, wanted.traffic
        # SOCKS says addresses: our Unix sockets are not for whoever is over there.
        if isinstance(message.destination, Address):
            return message.destination, wanted.traffic
        return None

    def _as_et(self, message: ChannelOpen) -> Wanted | None:
        """ET's server tells where to instead of what for."""
        for wanted in self._remote():
            if wanted.forward.destination == message.destination:
                return wanted
        return None

    def listen_said(self, message: Listen | Listening | Unlisten) -> None:
        if not isinstance(message, Listening):
            return
        wanted = self._wanted.get(message.number)
        if wanted is None or wanted.forward.side is Side.LOCAL:
            return
        if message.error:
            self._failed(wanted, message.error)
        else:
            self._opened(wanted, message.port)

    # What the user does in a session

    def add(self, forward: Forward) -> None:
        """Open one more."""
        wanted = self._want(forward)
        # Here and now it is no reason to end the session, whatever ExitOnForwardFailure says.
        self._exit_on_failure = False
        if not self._possible(wanted, begun=True):
            return
        if forward.side is Side.LOCAL:
            self._open(wanted)
        else:
            assert self._forwards is not None, "begin() comes first"
            self._forwards.say(_listen(wanted))

    def cancel(self, means: Callable[[Forward], bool]) -> list[Forward]:
        """Listen no longer where ``means`` says so; connections that there are stay.

        Return what there was.
        """
        found = [wanted for wanted in self._wanted.values() if means(wanted.forward)]
        for wanted in found:
            if wanted.tunnel is not None:
                wanted.tunnel.close()
            elif self._agreed and self._forwards is not None:
                self._forwards.say(Unlisten(wanted.number))
            del self._wanted[wanted.number]
        return [wanted.forward for wanted in found]

    def report(self) -> str:
        """What there is, a line each, for people."""
        if not self._wanted:
            return "There are no tunnels."
        return "\n".join(_line(wanted) for wanted in self._wanted.values())


def _listen(wanted: Wanted) -> Listen:
    forward = wanted.forward
    dynamic = forward.destination is None
    return Listen(wanted.number, forward.listen, dynamic, forward.datagrams)


def _lacking_in_et(forward: Forward) -> str:
    """What a real etserver does not do that this needs (specification 5); empty: nothing."""
    destination, listen = forward.destination, forward.listen
    if forward.datagrams:
        return "carries no UDP"
    if destination is None:
        return "knows no SOCKS"
    if forward.side is Side.REMOTE:
        if isinstance(listen, Address) and listen.port == 0:
            return "does not choose a port"
        return ""
    if isinstance(destination, Address) and destination.host not in NUMBERS_OF_LOOPBACK:
        return f"connects to nothing but its own localhost, not to {destination.host}"
    return ""


def _line(wanted: Wanted) -> str:
    traffic = wanted.traffic
    if wanted.failure:
        return f"  {wanted.forward}: {plain(wanted.failure)}"
    port = f" (port {wanted.chosen})" if wanted.chosen else ""
    return (
        f"  {wanted.forward}{port}: {traffic.channels} open, "
        f"{traffic.sent} bytes sent, {traffic.received} received"
    )
