"""The router as a service: listeners, signals, systemd."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

import trio

from trioet.errors import LocalError, UsageError
from trioet.server.config import ServeConfig
from trioet.server.local import bind_local
from trioet.server.places import SYSTEM_ROUTER_SOCKET, make_runtime_dir, router_socket_to_serve
from trioet.server.router import Router
from trioet.server.systemd import listen_fds, notify

log = logging.getLogger(__name__)

DRAIN_S: Final = 3.0
"""After SIGTERM, how long connections that have just come may take to be handed on."""

BACKLOG: Final = 256


class Service:
    """One router with its listeners. ``reread`` gives the configuration again, on SIGHUP."""

    def __init__(self, config: ServeConfig, reread: Callable[[], ServeConfig]) -> None:
        self._config = config
        self._reread = reread
        self._doors: dict[tuple[str, int], trio.CancelScope] = {}

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain for at most DRAIN_S.

        Raises:
          LocalError: an address or the socket for keepers cannot be had.
        """
        path = self._config.socket or router_socket_to_serve()
        if path == SYSTEM_ROUTER_SOCKET:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        elif not self._config.socket:
            make_runtime_dir()
        listeners = listen_fds() or open_listeners(self._config)
        inherited = {listener.getsockname()[1] for listener in listeners}
        port = self._config.port or min(inherited)
        # Every local user may register; the kernel says who does.
        keepers = bind_local(path, 0o666)
        router = Router(
            port=port,
            replay_memory=self._config.replay_memory,
            relay_policy=self._config.relay_policy,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(router.serve_keepers, keepers)
                for listener in listeners:
                    self._open_door(nursery, router, listener)
                names = ", ".join(f"{host}:{number}" for host, number in self._doors)
                log.info("serving on %s; keepers register at %s", names, path)
                notify("READY=1")
                await self._follow_signals(nursery, router)
                notify("STOPPING=1")
                for scope in self._doors.values():
                    scope.cancel()
                with trio.move_on_after(DRAIN_S):
                    await router.door.wait_empty()
                nursery.cancel_scope.cancel()
        finally:
            os.unlink(path)

    def _open_door(self, nursery: trio.Nursery, router: Router, listener: socket.socket) -> None:
        scope = trio.CancelScope()
        self._doors[listener.getsockname()[:2]] = scope
        nursery.start_soon(router.door.serve, listener, scope)

    async def _follow_signals(self, nursery: trio.Nursery, router: Router) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    return
                notify("RELOADING=1")
                try:
                    self._reload(nursery, router)
                except (LocalError, UsageError) as error:
                    log.error("configuration not reloaded: %s", error)
                notify("READY=1")

    def _reload(self, nursery: trio.Nursery, router: Router) -> None:
        """Open what is new, close what is gone; sessions notice neither."""
        config = self._reread()
        if (config.port, config.bind) != (self._config.port, self._config.bind):
            old, self._doors = self._doors, {}
            for scope in old.values():
                scope.cancel()
            for listener in open_listeners(config):
                self._open_door(nursery, router, listener)
        router.port, router.replay_memory = config.port or router.port, config.replay_memory
        router.set_relay_policy(config.relay_policy)
        self._config = config
        log.info("configuration reloaded")


def open_listeners(config: ServeConfig) -> list[socket.socket]:
    """Listen on every address asked for; on all of both families if none was.

    Raises:
      LocalError: names the address and port, and what to do.
    """
    listeners: list[socket.socket] = []
    port = config.port
    for host in config.bind or ("",):
        try:
            listener = _listen(host, port)
        except OSError as error:
            for opened in listeners:
                opened.close()
            where = f"{host or '*'} port {port}"
            raise LocalError(
                f"cannot listen on {where}: {error.strerror or error}; "
                "choose another with --port or --bind, or stop what listens there"
            ) from error
        port = port or listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _listen(host: str, port: int) -> socket.socket:
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=BACKLOG)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address, family=family, backlog=BACKLOG)
