"""Several processes that share a port, and the one that they work for.

Python does its work on one processor; so with ``workers = N`` there are N processes. Each
accepts from a listening socket of its own (:mod:`trioet.scon.listeners`), which outlives
it: who waits in its queue meanwhile is served by the worker that replaces it. A resume that
lands on the wrong one is handed over (:mod:`trioet.scon.seats`).

Each worker is this program again, with its own arguments, and a socket on which it is told
what to do and answers; a word each way, and figures as JSON. If that socket ends, the one
that it worked for is gone; then it retires, and its sessions live to their end.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

import trio

from trioet.errors import LocalError, TrioetError
from trioet.health.endpoint import Health
from trioet.health.metrics import Metric, gauge
from trioet.scon import inherited
from trioet.scon.config import SconConfig
from trioet.scon.listeners import shares
from trioet.scon.management import from_json, of_workers, to_json
from trioet.scon.serving import Serving, check, in_use

log = logging.getLogger(__name__)

MAX_WORD: Final = 128 * 1024
"""Bytes of an answer; the figures of a worker are less than a tenth."""

ANSWER_S: Final = 10.0
"""A worker that answers nothing for so long is told of, and left out."""

START_S: Final = 60.0
PAUSE_S: Final = 1.0
"""Before a worker that died is replaced, so that one that cannot start costs little."""

END_S: Final = 5.0
"""After SIGTERM; then SIGKILL."""

OK: Final = b"ok"
RELOAD: Final = b"reload"
METRICS: Final = b"metrics"
DRAIN: Final = b"drain"
RETIRE: Final = b"retire"


class _Worker:
    """One of them, seen from the one that they work for."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self._control = control
        self._turn = trio.Lock()

    async def ask(self, word: bytes, patience_s: float = ANSWER_S) -> bytes:
        """Tell it something; return its answer, b"" if it gives none."""
        async with self._turn:
            with trio.move_on_after(patience_s):
                try:
                    self._control.send(word)
                    return await _received(self._control)
                except OSError:
                    return b""
            self.process.kill()  # one that is stuck is of no use, and would answer late
        return b""

    async def wait_started(self) -> bool:
        """True if it serves; False if it ended instead."""
        with trio.move_on_after(START_S):
            return await _received(self._control) == OK
        return False

    async def wait_ended(self) -> int:
        """Its exit status."""
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    async def end(self) -> None:
        """Have it end now."""
        self.process.terminate()
        with trio.move_on_after(END_S):
            await self.wait_ended()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Nothing will be asked any more."""
        self._control.close()


class Workers:
    """The crew of a service that has several processes."""

    def __init__(
        self,
        config: SconConfig,
        reread: Callable[[], SconConfig],
        listeners: Sequence[socket.socket],
        relays: Sequence[socket.socket] = (),
        kcp: Sequence[socket.socket] = (),
    ) -> None:
        self.config = config
        self._reread = reread
        self._listeners = listeners
        self._relays = relays
        self._kcp = kcp
        self._shares = shares(listeners, config.workers)
        self._kcp_shares = shares(kcp, config.workers)
        self._workers: dict[int, _Worker] = {}
        self._state = "ok"
        self._restarts = 0

    def __repr__(self) -> str:
        return f"<Workers {self._state} {sorted(self._workers)}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep so many workers alive, until cancelled, or drained or retired and all have ended.

        Raises:
          LocalError: they cannot even be started.
        """
        async with trio.open_nursery() as nursery:
            for number in range(1, self.config.workers + 1):
                await nursery.start(self._keep, number)
            task_status.started()

    async def _keep(
        self, number: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        begun = False
        while self._state == "ok" or not begun:
            worker = self._start(self._shares[number - 1], self._kcp_shares[number - 1])
            try:
                if await worker.wait_started():
                    self._workers[number] = worker
                    if self._state != "ok":  # the others were told while it started
                        await worker.ask(DRAIN)
                    if not begun:
                        task_status.started()
                        begun = True
                elif not begun:
                    raise LocalError("a worker could not start; its reason stands above")
                status = await worker.wait_ended()
            finally:
                self._workers.pop(number, None)
                with trio.CancelScope(shield=True):
                    await worker.end()
                worker.close()
            if self._state == "ok":
                self._restarts += 1
                log.error("worker %d ended with status %d; it is replaced", number, status)
                await trio.sleep(PAUSE_S)
        # Nobody will serve who comes there: the kernel is to deal out to the others alone.
        for listener in chain(self._shares[number - 1], self._kcp_shares[number - 1]):
            listener.close()

    def _start(self, listeners: Sequence[socket.socket], kcp: Sequence[socket.socket]) -> _Worker:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with its:
                process = inherited.start_heir(
                    {
                        inherited.CLIENTS: listeners,
                        inherited.RELAYS: self._relays,
                        inherited.KCP: kcp,
                        inherited.CONTROL: [its],
                    }
                )
        except OSError as error:
            ours.close()
            raise LocalError(f"cannot start a worker: {error}") from error
        return _Worker(process, ours)

    def health(self) -> Health:
        """Whether new sessions are welcome, and somebody is there to serve them."""
        if self._state == "ok" and not self._workers:
            return Health(False, "no worker")
        return Health(self._state == "ok", self._state)

    async def metrics(self) -> list[Metric]:
        """The figures of all workers, each labelled with its number."""
        told = await self._ask_all(METRICS)
        found = of_workers(
            {str(number): from_json(data) for number, data in sorted(told.items()) if data}
        )
        return [
            *found,
            gauge("trioet_scon_workers", "Workers that serve.", len(self._workers)),
            gauge(
                "trioet_scon_worker_restarts", "Workers that had to be replaced.", self._restarts
            ),
        ]

    async def reload(self) -> None:
        """Read the configuration again, here and in every worker.

        Raises:
          TrioetError: it is wrong, or a worker says so.
        """
        config = self._reread()
        check(config)
        told = await self._ask_all(RELOAD)
        self.config = in_use(config, self.config)
        wrong = [data.decode() for data in told.values() if data != OK]
        if wrong:
            raise LocalError(
                "; ".join(sorted({text or "a worker does not answer" for text in wrong}))
            )

    async def drain(self) -> None:
        """Have every worker begin no more sessions, and end with its last."""
        self._state = "draining"
        await self._ask_all(DRAIN)

    async def retire(self) -> None:
        """Have every worker accept nothing more, and end with its last session."""
        self._state = "retired"
        await self._ask_all(RETIRE)
        for listener in chain(self._listeners, self._relays, self._kcp):
            listener.close()

    async def _ask_all(self, word: bytes) -> dict[int, bytes]:
        answers: dict[int, bytes] = {}

        async def ask(number: int, worker: _Worker) -> None:
            answers[number] = await worker.ask(word)

        async with trio.open_nursery() as nursery:
            for number, worker in self._workers.items():
                nursery.start_soon(ask, number, worker)
        return answers


async def work(serving: Serving, control: socket.socket) -> None:
    """Be a worker: serve, and do what is told, until SIGTERM or the last session's end."""
    control.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_sigterm, nursery.cancel_scope)
        await nursery.start(_serve, serving, nursery.cancel_scope)
        with suppress(BrokenPipeError):
            control.send(OK)
            while word := await _received(control):
                control.send(await _done(serving, word, nursery))
        await serving.retire()


async def _serve(
    serving: Serving,
    whole: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serving.run(task_status=task_status)
    whole.cancel()


async def _end_on_sigterm(whole: trio.CancelScope) -> None:
    # The others go to all processes of a terminal; what they mean, the first of us tells.
    others = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)
    with trio.open_signal_receiver(signal.SIGTERM, *others) as signals:
        async for number in signals:
            if number == signal.SIGTERM:
                whole.cancel()


async def _done(serving: Serving, word: bytes, nursery: trio.Nursery) -> bytes:
    """Do what was told; return the answer."""
    match word:
        case b"metrics":
            return to_json(await serving.metrics())
        case b"reload":
            try:
                await serving.reload()
            except TrioetError as error:
                return str(error).encode()
        case b"drain":
            nursery.start_soon(serving.drain)
        case b"retire":
            await serving.retire()
    return OK


async def _received(sock: socket.socket) -> bytes:
    """The next word; b"" if none will come."""
    while True:
        try:
            return sock.recv(MAX_WORD)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        except ConnectionResetError:
            return b""
