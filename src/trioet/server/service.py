"""The router as a service: listeners, signals, systemd."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import trio

from trioet.errors import LocalError
from trioet.server.config import ServeConfig
from trioet.server.listeners import Place, find_places, open_again, open_listeners
from trioet.server.local import bind_local
from trioet.server.places import SYSTEM_ROUTER_SOCKET, make_runtime_dir, router_socket_to_serve
from trioet.server.router import Router
from trioet.server.systemd import listen_fds, notify

log = logging.getLogger(__name__)

DRAIN_S: Final = 3.0
"""After SIGTERM, how long connections that have just come may take to be handed on."""

FOLLOWED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Service:
    """One router with its listeners. ``reread`` gives the configuration again, on SIGHUP."""

    def __init__(self, config: ServeConfig, reread: Callable[[], ServeConfig]) -> None:
        self._config = config
        self._reread = reread
        self._socket: Final = config.socket
        self._inherited = listen_fds()
        """What systemd listens on for us, instead of what the configuration says."""
        self._listeners: dict[Place, socket.socket] = {}
        """What we listen on ourselves."""
        self._doors: dict[socket.socket, trio.CancelScope] = {}

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain for at most DRAIN_S.

        Raises:
          LocalError: an address or the socket for keepers cannot be had.
        """
        _log_as_told(self._config)
        path = self._socket or router_socket_to_serve()
        if path == SYSTEM_ROUTER_SOCKET:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        elif not self._socket:
            make_runtime_dir()
        if not self._inherited:
            self._listeners = open_listeners(find_places(self._config.bind, self._config.port))
        listeners = self._inherited or [*self._listeners.values()]
        # Every local user may register; the kernel says who does.
        keepers = bind_local(path, 0o666)
        router = Router(
            port=_port_to_tell(self._config.port, listeners),
            replay_memory=self._config.replay_memory,
            relay_policy=self._config.relay_policy,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(router.serve_keepers, keepers)
                self._open_doors(nursery, router, listeners)
                names = ", ".join("{}:{}".format(*one.getsockname()) for one in listeners)
                with trio.open_signal_receiver(*FOLLOWED) as signals:
                    log.info("serving on %s; keepers register at %s", names, path)
                    notify("READY=1")
                    await self._follow(signals, nursery, router)
                notify("STOPPING=1")
                for scope in self._doors.values():
                    scope.cancel()
                with trio.move_on_after(DRAIN_S):
                    await router.door.wait_empty()
                nursery.cancel_scope.cancel()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    async def _follow(
        self, signals: AsyncIterator[int], nursery: trio.Nursery, router: Router
    ) -> None:
        async for number in signals:
            if number != signal.SIGHUP:
                return
            notify("RELOADING=1")
            try:
                await self._reload(nursery, router)
            except LocalError as error:
                log.error("configuration not reloaded, it serves as before: %s", error)
            notify("READY=1")

    async def _reload(self, nursery: trio.Nursery, router: Router) -> None:
        """Open what is new, close what is gone; sessions notice neither.

        Cancelled, it may have closed what stood in the way of something new.

        Raises:
          LocalError: it cannot be followed; everything is as it was.
        """
        config = self._reread()
        if not self._inherited:
            await self._listen_anew(nursery, router, config)
        elif (config.port, config.bind) != (self._config.port, self._config.bind):
            log.warning("systemd listens, not trioet: port and bind are its socket unit's to say")
        if config.socket != self._socket:
            log.warning("another socket takes effect with a restart only")
        router.replay_memory = config.replay_memory
        router.set_relay_policy(config.relay_policy)
        _log_as_told(config)
        self._config = config
        log.info("configuration reloaded")

    async def _listen_anew(
        self, nursery: trio.Nursery, router: Router, config: ServeConfig
    ) -> None:
        """Listen where ``config`` says. What stays is not touched; what goes, only when all that
        comes is there, unless one excludes the other.
        """
        wanted = find_places(config.bind, config.port or router.port)
        meant = {place for places in wanted.values() for place in places}
        come, gone = meant - self._listeners.keys(), self._listeners.keys() - meant
        in_the_way = {place for place in gone if any(map(place.excludes, come))}
        await self._close(in_the_way)
        try:
            opened = open_listeners(wanted, self._listeners)
        except LocalError:
            self._listen_at(nursery, router, open_again(in_the_way))
            raise
        self._listen_at(nursery, router, opened)
        await self._close(gone - in_the_way)
        router.port = config.port or router.port

    def _listen_at(
        self, nursery: trio.Nursery, router: Router, opened: Mapping[Place, socket.socket]
    ) -> None:
        self._listeners |= opened
        self._open_doors(nursery, router, opened.values())

    def _open_doors(
        self, nursery: trio.Nursery, router: Router, listeners: Iterable[socket.socket]
    ) -> None:
        for listener in listeners:
            self._doors[listener] = trio.CancelScope()
            nursery.start_soon(router.door.serve, listener, self._doors[listener])

    async def _close(self, places: Iterable[Place]) -> None:
        """Return when nobody listens there any more; whoever is in the door may finish.

        Cancellation closes what remains a little later.
        """
        listeners = [self._listeners.pop(place) for place in places]
        for listener in listeners:
            self._doors.pop(listener).cancel()
        while any(listener.fileno() >= 0 for listener in listeners):
            await trio.lowlevel.checkpoint()


def _port_to_tell(port: int, listeners: Iterable[socket.socket]) -> int:
    """Where clients are told to come: as configured, if somebody listens there."""
    ports = {listener.getsockname()[1] for listener in listeners}
    return port if port in ports else min(ports)


def _log_as_told(config: ServeConfig) -> None:
    logging.getLogger().setLevel(logging.DEBUG if config.verbose else logging.INFO)
