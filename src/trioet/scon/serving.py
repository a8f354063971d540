"""What one process serves: a server, its listeners, and its seat among others."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from trioet.health.endpoint import Health
from trioet.health.metrics import Metric
from trioet.scon.announcing import announcing, load_hook
from trioet.scon.config import SconConfig
from trioet.scon.management import metrics
from trioet.scon.seats import SeatDirectory, receive, take_seat
from trioet.scon.server import SconServer
from trioet.scon.targets import Targets

log = logging.getLogger(__name__)

NONE_ANY_MORE: Final = 0
"""``max_sessions`` of a server that shall begin none."""

LOOK_EVERY_S: Final = 0.5
"""How often it is looked whether the last session has ended."""

FIXED: Final = ("tcp", "manager", "manager_option", "cluster", "workers")
"""Keys that a reload leaves as they are: they take a restart."""


class Serving:
    """A server that is told by others what to do: a :class:`trioet.scon.service.Crew` of one."""

    def __init__(
        self,
        config: SconConfig,
        reread: Callable[[], SconConfig],
        directory: str,
        listeners: Sequence[socket.socket],
    ) -> None:
        """Take a seat in ``directory``; own it and the ``listeners``.

        Raises:
          UsageError: the hook, or a key's file, cannot be had.
          LocalError: the directory cannot be used.
        """
        self.config = config
        self._reread = reread
        self._listeners = listeners
        dial, policy = _targets(config).dial, config.policy()
        seat = take_seat(directory)
        assert seat is not None, "a seat by chance is a free one"
        self._directory = SeatDirectory(directory, seat)
        self.server = SconServer(dial, policy, directory=self._directory)
        self._accepting = [trio.CancelScope() for _ in listeners]
        self._state = "ok"

    def __repr__(self) -> str:
        return f"<Serving {self._state} {self._directory!r} {self.server!r}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until the last session has ended after drain or retire."""
        try:
            async with trio.open_nursery() as beside:
                beside.start_soon(self._take_what_is_handed_over, beside)
                async with trio.open_nursery() as nursery:
                    for listener, scope in zip(self._listeners, self._accepting, strict=True):
                        nursery.start_soon(self.server.serve, listener, scope)
                    task_status.started()
                beside.cancel_scope.cancel()
        finally:
            self._directory.close()

    async def _take_what_is_handed_over(self, nursery: trio.Nursery) -> None:
        while True:
            sock, preface = await receive(self._directory.seat)
            nursery.start_soon(self.server.admit, sock, preface)

    def health(self) -> Health:
        """Whether new sessions are welcome."""
        return Health(self._state == "ok", self._state)

    async def metrics(self) -> list[Metric]:
        """The figures of this process."""
        return metrics(self.server.counters, self.server.kept_bytes)

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
        self.server.dial, self.server.policy, self.config = dial, policy, config
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
