"""What one process serves: a server, its listeners, and its seat among others."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from trioet.errors import LocalError, PeerError
from trioet.health.endpoint import Health
from trioet.health.metrics import Metric, counter, gauge
from trioet.health.place import read_token
from trioet.scon.announcing import announcing, load_hook
from trioet.scon.cluster import Cluster, join
from trioet.scon.config import SconConfig, read_key
from trioet.scon.kcp_listener import KcpListener
from trioet.scon.management import metrics
from trioet.scon.relays import RelayDoor
from trioet.scon.seats import Seat, SeatDirectory, receive, take_seat
from trioet.scon.server import SconServer
from trioet.scon.targets import Targets
from trioet.wire.scon_handshake import (
    Code,
    FrameReader,
    ResumeAnswer,
    ResumeRequest,
    frame,
    parse_request,
)

log = logging.getLogger(__name__)

NONE_ANY_MORE: Final = 0
"""``max_sessions`` of a server that shall begin none."""

LOOK_EVERY_S: Final = 0.5
"""How often it is looked whether the last session has ended."""

FIXED: Final = ("tcp", "kcp", "kcp_option", "manager", "manager_option", "cluster", "workers")
"""Keys that a reload leaves as they are: they take a restart."""


class Serving:
    """A server that is told by others what to do: a :class:`trioet.scon.service.Crew` of one."""

    def __init__(
        self,
        config: SconConfig,
        reread: Callable[[], SconConfig],
        directory: str,
        listeners: Sequence[socket.socket],
        relays: Sequence[socket.socket] = (),
        kcp: Sequence[socket.socket] = (),
    ) -> None:
        """``directory`` is where the seats are. Owns the ``listeners``, and those for ``relays``.

        ``kcp`` are UDP sockets for clients; it owns them, too.

        Raises:
          UsageError: the hook, or a key's file, cannot be had.
        """
        self.config = config
        self._reread = reread
        self._listeners = listeners
        self._relays = relays
        self._kcp = kcp
        self._place = directory
        self._directory = SeatDirectory(directory)
        self._cluster: Cluster | None = None
        self._cluster_key = read_key(config.cluster.key_file) if config.cluster.redis else b""
        self.server = SconServer(_targets(config).dial, config.policy(), directory=self._directory)
        self._accepting = [trio.CancelScope() for _ in (*listeners, *relays, *kcp)]
        self._kcp_listeners = [KcpListener(self.server, config.kcp_option) for _ in kcp]
        self._state = "ok"

    def __repr__(self) -> str:
        return f"<Serving {self._state} {self._directory!r} {self.server!r}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until the last session has ended after drain or retire.

        Raises:
          LocalError: the seats' directory, or Redis, cannot be used.
        """
        try:
            async with AsyncExitStack() as stack:
                if self.config.cluster.redis:
                    await self._join(stack)
                async with trio.open_nursery() as beside:
                    await self._sit(beside)
                    if self._cluster:
                        beside.start_soon(self._cluster.keep, partial(self._sit, beside))
                    await self._serve(task_status)
                    beside.cancel_scope.cancel()
        finally:
            self._directory.close()

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        door = RelayDoor(self._cluster_key, self._deliver)
        scopes = iter(self._accepting)
        async with trio.open_nursery() as nursery:
            for listener in self._listeners:
                nursery.start_soon(self.server.serve, listener, next(scopes))
            for listener in self._relays:
                nursery.start_soon(door.serve, listener, next(scopes))
            for kcp_listener, sock in zip(self._kcp_listeners, self._kcp, strict=True):
                nursery.start_soon(kcp_listener.serve, sock, next(scopes))
            task_status.started()

    async def _join(self, stack: AsyncExitStack) -> None:
        cluster = self.config.cluster
        assert cluster.advertise is not None, "config.py sees to it"
        self._cluster = await stack.enter_async_context(
            join(cluster.redis, cluster.advertise, self._cluster_key)
        )
        self._directory.elsewhere = self._cluster.find

    async def _sit(self, nursery: trio.Nursery) -> None:
        """Take a seat, and in ``nursery`` what is handed to it.

        Raises:
          LocalError: none can be had.
        """
        seat = None
        while seat is None:
            try:
                number = await self._cluster.take() if self._cluster else None
            except OSError as error:
                raise LocalError(f"cannot reach the Redis of cluster.redis: {error}") from error
            seat = take_seat(self._place, number)
        self._directory.sit(seat)
        nursery.start_soon(self._take_what_is_handed_over, seat, nursery)

    async def _take_what_is_handed_over(self, seat: Seat, nursery: trio.Nursery) -> None:
        while True:
            sock, preface = await receive(seat)
            nursery.start_soon(self.server.admit, sock, preface)

    async def _deliver(self, sock: socket.socket, preface: bytes) -> None:
        """A connection that another machine's proxy passed on: of a session on this machine.

        It is never passed on again, so no two proxies can play ball with it.
        """
        reader = FrameReader()
        with sock, suppress(PeerError, OSError):
            text = reader.feed(preface)
            request = parse_request(text) if text is not None else None
            if not isinstance(request, ResumeRequest):
                return
            if self._directory.is_own(request.session_id):
                await self.server.admit(sock, preface)
            elif neighbour := self._directory.find_near(request.session_id):
                await neighbour.take(sock, preface)
            else:
                sock.send(frame(ResumeAnswer(0, Code.UNKNOWN).text()))

    def health(self) -> Health:
        """Whether new sessions are welcome."""
        return Health(self._state == "ok", self._state)

    async def metrics(self) -> list[Metric]:
        """The figures of this process."""
        directory, cluster = self._directory, self._cluster
        found = metrics(self.server.counters, self.server.kept_bytes)
        found += [
            counter(
                "trioet_scon_handed_over_total",
                "Connections handed to other processes of this machine.",
                directory.handed_over,
            ),
            counter(
                "trioet_scon_passed_on_total",
                "Connections passed to other machines.",
                directory.passed_on,
            ),
        ]
        if self._kcp_listeners:
            open_now = sum(one.conversations for one in self._kcp_listeners)
            name, meaning = "trioet_scon_kcp_connections", "Connections that came by KCP."
            found.append(gauge(name, meaning, open_now))
        if cluster:
            name, meaning = "trioet_scon_redis_connected", "Whether Redis answered last."
            found.append(gauge(name, meaning, cluster.connected))
        return found

    async def reload(self) -> None:
        """Read the configuration again. What is wrong with it changes nothing.

        Raises:
          UsageError: says what.
        """
        config = self._reread()
        dial, policy = _targets(config).dial, config.policy()
        for name in FIXED:
            if getattr(config, name) != getattr(self.config, name):
                log.warning("%s has changed, which takes a restart (SIGUSR2)", name)
        if self._state != "ok":
            policy = replace(policy, max_sessions=NONE_ANY_MORE)
        self.server.dial, self.server.policy = dial, policy
        self.config = in_use(config, self.config)
        log.info("configuration reloaded")

    async def drain(self) -> None:
        """Begin no more sessions; those that are there may come back, until the last has ended.

        Then :meth:`run` returns. Cancelled, the end is waited for no longer.
        """
        self._state = "draining"
        self.server.policy = replace(self.server.policy, max_sessions=NONE_ANY_MORE)
        while self.server.sessions:  # noqa: ASYNC110 - there is no event, and no hurry
            await trio.sleep(LOOK_EVERY_S)
        await self.retire()

    async def retire(self) -> None:
        """Accept nothing more: somebody else does, and hands over what is ours.

        :meth:`run` returns when the last session has ended.
        """
        self._state = "retired"
        for scope in self._accepting:
            scope.cancel()


def _targets(config: SconConfig) -> Targets:
    option = config.upstream_option
    hook = load_hook(option.hook) if option.hook else None
    return Targets(config.hosts, option, announcing(option.sproto, hook))


def check(config: SconConfig) -> None:
    """See whether what a configuration names can be had.

    Raises:
      UsageError: the hook, or the file of a key or token, cannot.
    """
    _targets(config)
    config.policy()
    if config.cluster.redis:
        read_key(config.cluster.key_file)
    if config.manager_option.token_file:
        read_token(config.manager_option.token_file)


def in_use(config: SconConfig, before: SconConfig) -> SconConfig:
    """What is followed once ``config`` was read in place of ``before``."""
    return replace(config, **{name: getattr(before, name) for name in FIXED})
