"""A session's tunnels at the server: what its client wants listened on, and connected.

All of it with the rights of the session's user, whose keeper this is.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from typing import Final

import trio

from trioet.errors import LocalError
from trioet.link.resumable import ResumableLink
from trioet.session.channel import Traffic
from trioet.session.forwards import Forwards
from trioet.session.listeners import CannotListen, PrivateSockets
from trioet.session.tunnels import Tunnel
from trioet.wire.channels import ChannelOpen, TrioetChannels, Unlisten
from trioet.wire.et_channels import EtChannels
from trioet.wire.forward import Endpoint, UnixPath, Variable
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.messages import InitialPayload

log = logging.getLogger(__name__)

MAX_LISTENERS: Final = 256
"""Of a session: each takes one or two descriptors."""

PATIENCE_S: Final = 0.5
"""How long the program waits for the places that have no variable. What is said of them looks
better before the first prompt; but a name may take long to be found."""

FIRST_NUMBER: Final = 2
CLIENTS_PARITY: Final = 1


class ServerTunnels:
    """The policy of the server's end, and what listens there."""

    def __init__(
        self,
        link: ResumableLink,
        payload: InitialPayload,
        nursery: trio.Nursery,
        directory: str,
        on_credit: Callable[[int], None],
    ) -> None:
        """``directory`` is the user's own for sockets. ``on_credit`` hears what the client
        has shown of the terminal, in bytes."""
        self.credited = on_credit
        self._payload = payload
        self._nursery = nursery
        self._directory = directory
        self._private: PrivateSockets | None = None
        self._tunnels: dict[int, Tunnel] = {}
        self._agreed = "channels" in payload.features
        peer = TrioetChannels() if self._agreed else EtChannels(CLIENTS_PARITY)
        self.forwards = Forwards(link, peer, self, nursery, FIRST_NUMBER)
        self._outward = Traffic("a tunnel from the client")

    async def begin(self) -> tuple[dict[bytes, bytes], list[str]]:
        """Listen where the client wants it.

        Return, when these are there, the variables that the program is to have, and for a
        real ET, which has no other way to hear it, what could not be had.

        Raises:
          CannotListen: a place cannot be had, and the client wants nothing run without.
        """
        environment: dict[bytes, bytes] = {}
        failures: list[str] = []
        if self._agreed:
            await self._begin_all(environment)
        else:
            for number, forward in enumerate(self._payload.reverse_tunnels, 1):
                traffic = Traffic(str(forward))
                tunnel = Tunnel(traffic, self.forwards, destination=forward.destination)
                try:
                    await self._open(number, tunnel, forward.listen, environment)
                except LocalError as error:
                    failures.append(f"tunnel {forward}: {error}")
        return environment, failures

    async def _begin_all(self, environment: dict[bytes, bytes]) -> None:
        required = self._payload.listens_required
        others = []
        for listen in self._payload.listens:
            tunnel = self._tunnel(listen)
            if isinstance(listen.endpoint, Variable):
                await self._listen(listen, tunnel, environment)
            else:
                others.append(done := trio.Event())
                self._nursery.start_soon(self._listen, listen, tunnel, {}, done)
        with trio.move_on_after(math.inf if required else PATIENCE_S):
            for done in others:
                await done.wait()
        if required and len(self._tunnels) < len(self._payload.listens):
            raise CannotListen("a tunnel that the session is not to be without cannot be had")

    def close(self) -> None:
        """Remove what was placed in the file system. The tasks end with their nursery."""
        if self._private is not None:
            self._private.close()

    def _tunnel(self, listen: Listen) -> Tunnel:
        return Tunnel(
            Traffic(f"listen {listen.number} on {listen.endpoint}"),
            self.forwards,
            listen=listen.number,
            dynamic=listen.dynamic,
            datagrams=listen.datagrams,
        )

    async def _listen(
        self,
        listen: Listen,
        tunnel: Tunnel,
        environment: dict[bytes, bytes],
        done: trio.Event | None = None,
    ) -> None:
        try:
            await self._open(listen.number, tunnel, listen.endpoint, environment)
        except LocalError as error:
            self.forwards.say(Listening(listen.number, error=str(error)))
        else:
            self.forwards.say(Listening(listen.number, tunnel.port))
        if done is not None:
            done.set()

    async def _open(
        self,
        number: int,
        tunnel: Tunnel,
        where: Endpoint | Variable,
        environment: dict[bytes, bytes],
    ) -> None:
        if self._tunnels.setdefault(number, tunnel) is not tunnel:
            raise CannotListen(f"listen {number} is there already")
        try:
            if len(self._tunnels) > MAX_LISTENERS:
                raise CannotListen(f"a session may listen on {MAX_LISTENERS} places at most")
            place = self._place(where.name) if isinstance(where, Variable) else where
            await self._nursery.start(tunnel.run, place)
        except CannotListen:
            if self._tunnels.get(number) is tunnel:
                del self._tunnels[number]
            raise
        if isinstance(where, Variable):
            environment[os.fsencode(where.name)] = os.fsencode(str(place))

    def _place(self, name: str) -> UnixPath:
        if self._private is None:
            self._private = PrivateSockets(self._directory)
        return self._private.path(name)

    # Policy

    def admit(self, message: ChannelOpen) -> tuple[Endpoint, Traffic] | None:
        """The client may connect to whatever its user may."""
        if message.listen or message.destination is None:
            return None
        return message.destination, self._outward

    def listen_said(self, message: Listen | Listening | Unlisten) -> None:
        match message:
            case Listen(number):
                tunnel = self._tunnel(message)
                # At once: what comes next may be that it is to end.
                self._tunnels.setdefault(number, tunnel)
                # A program that runs already cannot be told of a variable.
                self._nursery.start_soon(self._listen, message, tunnel, {})
            case Unlisten(number) if number in self._tunnels:
                self._tunnels.pop(number).close()
