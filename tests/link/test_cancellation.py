"""Cancel at every await in the life of a link, and look what is left.

One end of a line is run again and again; at its n-th step it is cancelled, for every n until
its life ends by itself. Each time its line must be closed, no descriptor and no task left,
and on the next line everything arrives, once and in order. At the end, what was cancelled
must have been every await in `trioet.link`.
"""

from __future__ import annotations

import ast
import gc
import os
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trioet.link
from lines import Cable
from pairs import DATA, ID, Pair
from trioet.errors import TrioetError
from trioet.link.dial import dial
from trioet.link.line import Line, LineBroken, SocketLine
from trioet.link.liveness import Liveness
from trioet.link.reconnect import Reconnector
from trioet.link.trial import LARGE
from trioet.wire.handshake import connect_request_frame, sequence_header_frame
from trioet.wire.messages import ConnectRequest

pytestmark = pytest.mark.proof

LINK = Path(trioet.link.__file__ or "").parent
MOST_STEPS = 400
PACKETS = 30
NOT_AWAITED_LONG = {
    "line.py:checkpoint": "returns at once, and only in a flood",
    "dial.py:aclose": "shielded: it closes what is open already",
}

reached: set[tuple[str, int]] = set()
"""Where tasks stood when they were cancelled: file of trioet.link, and line."""


class CancelAtStep(trio.abc.Instrument):
    """Cancel a scope after the n-th step of the tasks below it."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope = trio.CancelScope()
        self.root: trio.lowlevel.Task | None = None
        self.cancelled = False
        self.done = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.root is None or self.done or not self._below(task):
            return
        self.left -= 1
        if self.left == 0:
            reached.update(places(task))
            self.cancelled = True
            self.scope.cancel()

    def _below(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task is self.root:
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery else None
        return False

    def end(self) -> None:
        """The life is over: what goes on for ever is ended, and that counts for nothing."""
        self.root = None
        self.scope.cancel()

    async def run(self, victim: Callable[[], Awaitable[object]]) -> None:
        self.root = trio.lowlevel.current_task()
        with self.scope, suppress(LineBroken, TrioetError):
            await victim()
        self.done = True


def places(task: trio.lowlevel.Task) -> set[tuple[str, int]]:
    """Every await of trioet.link in which a task stands."""
    found = set()
    awaited: Any = task.coro
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None and Path(frame.f_code.co_filename).parent == LINK:
            found.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return found


def sockets() -> tuple[socket.socket, socket.socket]:
    """A line that real sockets make, and a narrow one."""
    pair = socket.socketpair()
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return pair


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def settle() -> None:
    for _ in range(3):
        await wait_all_tasks_blocked(0.001)


def every_step(life: Callable[[CancelAtStep], Awaitable[None]]) -> int:
    """Live the life, cancelled one step later each time; return how many steps it has."""
    before = descriptors()
    for step in range(1, MOST_STEPS):
        instrument = CancelAtStep(step)
        trio.run(life, instrument, instruments=[instrument], clock=MockClock())
        assert descriptors() == before, f"descriptors are left after step {step}"
        if not instrument.cancelled:
            return step
    raise AssertionError(f"the life does not end in {MOST_STEPS} steps")


async def check_all_arrives(pair: Pair) -> None:
    assert not pair.client.attached
    assert not pair.server.attached
    pair.at_client.busy = pair.at_server.busy = None
    pair.connect()
    pair.client.send_keepalive()
    await settle()
    numbers = [b"%04d" % number + bytes(996) for number in range(PACKETS)]
    assert pair.at_server.payloads == numbers
    assert pair.at_client.payloads == numbers


def fill(pair: Pair) -> None:
    for number in range(PACKETS):
        for link in (pair.client, pair.server):
            link.send(DATA, b"%04d" % number + bytes(996))


@pytest.mark.parametrize("victim", ["client", "server"])
def test_wherever_a_line_is_cancelled_nothing_is_lost(victim: str) -> None:
    """A return with a catch-up both ways, over a line that is full, with receivers that pause."""

    async def life(instrument: CancelAtStep) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            await pair.meet_and_part()
            fill(pair)
            ours, theirs = map(SocketLine, sockets())
            run: dict[str, Callable[[Line], Awaitable[None]]] = {
                "client": lambda line: pair.client.run_client_line(line, ID),
                "server": lambda line: pair.server.run_server_line(line, b""),
            }
            others = {"client": pair.run_server, "server": pair.run_client}
            inbox = pair.at_client if victim == "client" else pair.at_server
            busy = inbox.busy = trio.Event()
            nursery.start_soon(others[victim], theirs)
            nursery.start_soon(instrument.run, lambda: run[victim](ours))
            await settle()
            busy.set()
            inbox.busy = None
            await settle()
            link, other = pair.client, pair.server
            if victim == "server":
                link, other = other, link
            busy = inbox.busy = trio.Event()
            other.send_keepalive()
            await settle()
            busy.set()
            inbox.busy = None
            link.send_keepalive()
            await settle()
            theirs.close()
            await settle()
            assert ours not in link.lines
            assert ours._sock.fileno() < 0
            assert instrument.done
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert every_step(life) > 10


def test_who_waits_for_a_large_catchup_can_be_cancelled() -> None:
    async def life(instrument: CancelAtStep) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            await pair.meet_and_part()
            for _ in range(2 * LARGE // 16384):
                pair.server.send(DATA, bytes(16384))
            assert pair.server._trial.may_have(2 * LARGE)
            cable = Cable()
            hello = connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0)
            cable.client.try_send(hello)
            nursery.start_soon(
                instrument.run, lambda: pair.server.run_server_line(cable.server, b"")
            )
            await settle()
            cable.cut()
            await settle()
            assert instrument.done
            assert not pair.server._trial._waiting
            assert not pair.server._trial._lines
            nursery.cancel_scope.cancel()

    assert every_step(life) > 3


@pytest.mark.parametrize("wait", ["wait_room", "wait_delivered"])
def test_waiting_can_be_cancelled(wait: str) -> None:
    async def life(instrument: CancelAtStep) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery, max_kept=10_000)
            await pair.meet_and_part()
            fill(pair)
            nursery.start_soon(instrument.run, getattr(pair.server, wait))
            await settle()
            for link in (pair.client, pair.server):
                link.agree_acks()
            cable = pair.connect()
            await settle()
            assert instrument.done
            cable.cut()
            await settle()
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert every_step(life) > 1


def test_liveness_can_be_cancelled() -> None:
    async def life(instrument: CancelAtStep) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            liveness = Liveness(pair.client, 5.0, lambda: None)
            pair.client.on_change = liveness.line_changed
            nursery.start_soon(instrument.run, liveness.run)
            cable = pair.connect()
            fill(pair)
            await settle()
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, MockClock)
            clock.jump(6)
            await settle()
            instrument.end()
            cable.cut()
            await settle()
            assert instrument.done
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert every_step(life) > 3


def test_a_reconnector_can_be_cancelled_at_any_time() -> None:
    """Through a dial, a session, its loss, a refused dial, and its return."""

    async def life(instrument: CancelAtStep) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            cables: list[Cable] = []
            dials = 0

            async def reach() -> Line:
                nonlocal dials
                dials += 1
                await trio.lowlevel.checkpoint()
                if dials == 2:
                    raise ConnectionRefusedError(111, "Connection refused")
                cable = Cable()
                cables.append(cable)
                nursery.start_soon(pair.run_server, cable.server)
                return cable.client

            reconnector = Reconnector(pair.client, ID, reach, jitter=random.Random(1))
            pair.client.on_change = reconnector.line_changed
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, MockClock)
            nursery.start_soon(instrument.run, reconnector.run)
            fill(pair)
            await settle()
            for cable in cables:
                cable.cut()
            for _ in range(4):
                await settle()
                clock.jump(1)
            await settle()
            instrument.end()
            await settle()
            assert not pair.client.attached
            assert all(cable.client.closed for cable in cables)
            await settle()
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert every_step(life) > 5


def test_dialling_can_be_cancelled() -> None:
    async def life(instrument: CancelAtStep) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            async def connect() -> None:
                (await dial("127.0.0.1", port)).close()

            await instrument.run(connect)

    assert every_step(life) > 1


def test_every_await_was_cancelled() -> None:
    """The last test of this file: what the others did not reach is named."""
    missing = []
    for path in sorted(LINK.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Await):
                continue
            called = node.value.func if isinstance(node.value, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else ""
            if f"{path.name}:{name}" in NOT_AWAITED_LONG:
                continue
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if not any((path.name, line) in reached for line in lines):
                missing.append(f"{path.name}:{node.lineno}")
    assert not missing
