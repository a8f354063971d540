"""Connecting to a router that is there and has much to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from descriptors import descriptors
from trioet.server.local import CONNECT_DEADLINE_S, LocalChannel, connect_local
from waiting import until


class Queue:
    """A router's socket whose queue is full."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(1)
        self.callers: list[socket.socket] = []
        with pytest.raises(BlockingIOError):
            self._fill()

    def _fill(self) -> None:
        while True:
            caller = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.callers.append(caller)
            caller.setblocking(False)
            caller.connect(self.path)

    def close(self) -> None:
        for sock in (self.listener, *self.callers):
            sock.close()


@pytest.fixture
def queue(runtime_dir: Path) -> Iterator[Queue]:
    made = Queue(str(runtime_dir / "router.sock"))
    yield made
    made.close()


async def test_whoever_finds_the_queue_full_waits_for_a_place(queue: Queue) -> None:
    channels: list[LocalChannel] = []

    async def connect() -> None:
        channels.append(await connect_local(queue.path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        assert not channels
        queue.listener.accept()[0].close()
        await until(lambda: channels)
    channels[0].close()


async def test_a_router_that_accepts_nobody_is_given_up(
    queue: Queue, autojump_clock: MockClock
) -> None:
    before = descriptors()
    with pytest.raises(TimeoutError, match="does not accept connections"):
        await connect_local(queue.path)
    assert trio.current_time() >= CONNECT_DEADLINE_S
    assert descriptors() == before


async def test_cancelled_in_the_queue_it_leaves_nothing(queue: Queue) -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect_local, queue.path)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert descriptors() == before


async def test_nobody_there_is_told_at_once(runtime_dir: Path, autojump_clock: MockClock) -> None:
    with pytest.raises(FileNotFoundError):
        await connect_local(str(runtime_dir / "router.sock"))
    assert trio.current_time() == 0
