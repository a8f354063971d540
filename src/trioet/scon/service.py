"""The standing service: what it is told by signals and at its management port.

* SIGHUP, POST /reload: read the configuration again. Times, limits and backends are replaced
  at once, sessions go on. Addresses and the number of workers change with a restart.
* SIGUSR2: restart without an end. A successor takes the listening sockets over; this process
  accepts nothing more and lives as long as its sessions. Those that come back meet the
  successor, which hands them over (:mod:`trioet.scon.seats`).
* SIGQUIT: end when the sessions have ended; new ones are refused meanwhile.
* SIGTERM, SIGINT: end now, and the sessions with it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from trioet.errors import LocalError, TrioetError
from trioet.health.endpoint import Answer, Endpoint, Health
from trioet.health.metrics import Metric
from trioet.health.place import Place, listen, parse_place, read_token
from trioet.scon import inherited
from trioet.scon.config import SconConfig, dump
from trioet.scon.listeners import bind_udp, is_at, open_listeners
from trioet.scon.serving import Serving
from trioet.scon.workers import Workers

log = logging.getLogger(__name__)

SUCCESSOR_S: Final = 60.0
"""How long a successor may take until it serves; then it is ended, and nothing has changed."""

FOLLOWED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)

TOML: Final = "application/toml"


class Crew(Protocol):
    """Who does the work: this process alone, or workers."""

    config: SconConfig

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until the last session has ended after drain or retire."""

    def health(self) -> Health:
        """Whether new sessions are welcome."""

    async def metrics(self) -> list[Metric]:
        """The figures of all."""

    async def reload(self) -> None:
        """Read the configuration again.

        Raises:
          TrioetError: says what is wrong with it; then nothing has changed.
        """

    async def drain(self) -> None:
        """Begin no more sessions, and end with the last. Cancellation keeps it so."""

    async def retire(self) -> None:
        """Accept nothing more, and end with the last session."""


@dataclass(frozen=True)
class Surroundings:
    """What a service is given by whoever starts it.

    ``reread`` gives the configuration again, or raises UsageError. ``runtime`` is a
    directory of this user's alone. ``notify`` tells systemd something (sd_notify(3)).
    ``inherited`` are a predecessor's sockets, ``activated`` listening ones of systemd's.
    """

    reread: Callable[[], SconConfig]
    runtime: str
    notify: Callable[[str], None] = lambda message: None
    inherited: inherited.Sockets = field(default_factory=dict)
    activated: Sequence[socket.socket] = ()


class Service:
    """One service: alone, or with workers, as its configuration says."""

    def __init__(self, config: SconConfig, surroundings: Surroundings) -> None:
        """Open what is listened at, or take it over from a predecessor.

        Raises:
          LocalError: an address, a directory or a key's file cannot be had.
        """
        given = surroundings.inherited
        token_file = config.manager_option.token_file
        self._token = read_token(token_file) if token_file else None
        self._activated = [*surroundings.activated, *given.get(inherited.ACTIVATED, ())]
        self._listeners = self._activated or open_listeners(
            config.tcp, given.get(inherited.CLIENTS, ()), config.workers
        )
        cluster = config.cluster
        self._relays = open_listeners(
            cluster.listen if cluster.redis else (), given.get(inherited.RELAYS, ())
        )
        self._kcp = open_listeners(
            config.kcp, given.get(inherited.KCP, ()), config.workers, bind_udp
        )
        self._managers = _open_manager(config, given.get(inherited.MANAGER, ()), self._token)
        self._predecessor = given.get(inherited.READY, ())
        self._notify = surroundings.notify
        directory = seats_directory(surroundings.runtime, self._listeners[0])
        self._crew: Crew
        if config.workers > 1:
            self._crew = Workers(
                config, surroundings.reread, self._listeners, self._relays, self._kcp
            )
        else:
            self._crew = Serving(
                config, surroundings.reread, directory, self._listeners, self._relays, self._kcp
            )
        self._managing = trio.CancelScope()
        self._giving_way = False
        self._ending = False

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where clients are served."""
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def run(self) -> None:
        """Serve until told to end, or until the last session has ended.

        Cancellation ends the sessions.
        """
        with trio.open_signal_receiver(*FOLLOWED) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, nursery)
                await self._follow(signals, nursery)
                self._notify("STOPPING=1")
                nursery.cancel_scope.cancel()

    async def _serve(self, nursery: trio.Nursery) -> None:
        await nursery.start(self._work, nursery.cancel_scope)
        nursery.start_soon(self._manage)
        places = dict.fromkeys(f"{host}:{port}" for host, port in self.addresses)
        log.info("serving on %s", ", ".join(places))
        self._tell_ready()

    async def _work(
        self,
        whole: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self._crew.run(task_status=task_status)
        whole.cancel()

    def _tell_ready(self) -> None:
        for waiting in self._predecessor:
            with waiting, suppress(BrokenPipeError):  # it may have been killed meanwhile
                waiting.send(b"1")
        self._notify("READY=1")

    async def _manage(self) -> None:
        endpoint = Endpoint(
            health=self._crew.health,
            metrics=self._crew.metrics,
            pages={"/config": lambda: Answer(dump(self._crew.config), content_type=TOML)},
            acts={"/reload": self._reload},
            token=self._token,
            names=self._crew.config.manager_option.names,
        )
        with self._managing:
            async with trio.open_nursery() as nursery:
                for listener in self._managers:
                    nursery.start_soon(endpoint.serve, listener)

    async def _reload(self) -> Answer:
        """Reload; answer in goscon's own words."""
        self._notify("RELOADING=1")
        try:
            await self._crew.reload()
        except TrioetError as error:
            log.error("configuration not reloaded: %s", error)
            return Answer(f"failed: {error}\n", 500)
        finally:
            self._notify("READY=1")
        return Answer("succeed\n")

    async def _follow(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Returns when it is time to end now."""
        async for number in signals:
            match number:
                case signal.SIGHUP:
                    await self._reload()
                case signal.SIGQUIT:
                    log.info("no new sessions; this ends with the last")
                    self._ending = True
                    nursery.start_soon(self._crew.drain)
                case signal.SIGUSR2 if self._ending:
                    log.warning("this process ends already; SIGUSR2 is ignored")
                case signal.SIGUSR2 if self._giving_way:
                    log.warning("a successor is on its way already; SIGUSR2 is ignored")
                case signal.SIGUSR2:
                    self._giving_way = True
                    nursery.start_soon(self._give_way)
                case _:
                    return

    async def _give_way(self) -> None:
        """Let a successor serve, and end with the last session; if it does not, go on.

        Cancellation ends a successor that does not serve yet.
        """
        heir = await self._successor()
        self._giving_way = False
        if heir is None:
            return
        log.info("process %d serves now; this one ends with its last session", heir.pid)
        self._notify(f"MAINPID={heir.pid}")
        self._ending = True
        self._managing.cancel()
        await self._crew.retire()

    async def _successor(self) -> subprocess.Popen[bytes] | None:
        """A process that serves in place of this one; None if there is none, and the log says why.

        Cancellation ends it.
        """
        ours, its = socket.socketpair()
        sockets = {
            inherited.ACTIVATED if self._activated else inherited.CLIENTS: self._listeners,
            inherited.RELAYS: self._relays,
            inherited.KCP: self._kcp,
            inherited.MANAGER: self._managers,
            inherited.READY: [its],
        }
        with ours:
            try:
                with its:
                    heir = inherited.start_heir(sockets)
            except OSError as error:
                log.error("no successor could be started: %s", error)
                return None
            serves = False
            try:
                serves = await _says_ready(ours)
            finally:
                if not serves:
                    heir.kill()
                    heir.wait()
            if not serves:
                log.error("the successor did not come to serve; this process goes on")
                return None
        return heir


async def _says_ready(sock: socket.socket) -> bool:
    sock.setblocking(False)
    with trio.move_on_after(SUCCESSOR_S):
        await trio.lowlevel.wait_readable(sock)
        return bool(sock.recv(1))
    return False


def seats_directory(runtime: str, listener: socket.socket) -> str:
    """Where those who share this listener find each other; made if need be.

    Raises:
      LocalError: it cannot be made.
    """
    path = os.path.join(runtime, f"scon-{listener.getsockname()[1]}")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {path}: {error.strerror}") from error
    return path


def _open_manager(
    config: SconConfig, given: Sequence[socket.socket], token: str | None
) -> list[socket.socket]:
    """As is configured now; what a predecessor had elsewhere is closed."""
    place = parse_place(config.manager) if config.manager else None
    for listener in given:
        if place and _is_at(listener, place):
            return [listener]
        listener.close()
    return [listen(place, token)] if place else []


def _is_at(listener: socket.socket, place: Place) -> bool:
    if place.path:
        return bool(listener.getsockname() == place.path)
    return listener.family != socket.AF_UNIX and is_at(listener, place.host, place.port)
