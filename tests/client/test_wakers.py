"""What wakes a reconnect: real network changes, and messages and a clock by hand."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.client.wakers import (
    BURST_S,
    MAX_BURST_S,
    MAX_KNOWN,
    NetworkChanges,
    follow_changes,
    watch_resume,
)
from waiting import PATIENCE_S

NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE = 16, 17, 20, 21, 24, 25
UP = 0x1 | 0x40 | 0x10000
REPLACES = 0x100


def message(kind: int, body: bytes, *attributes: tuple[int, bytes], how: int = 0) -> bytes:
    for number, value in attributes:
        body += struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, how, 0, 0) + body


def link(index: int, flags: int = UP, kind: int = NEW_LINK, family: int = 0, how: int = 0) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, flags, 0)
    return message(kind, body, (3, b"wlan0\0"), how=how)


def address(last: int, lifetime: int, kind: int = NEW_ADDRESS, flags: int = 0) -> bytes:
    head = struct.pack("=BBBBI", socket.AF_INET, 24, flags, 0, 2)
    ip = bytes([10, 0, 0, last])
    return message(kind, head, (1, ip), (2, ip), (6, struct.pack("=IIII", lifetime, 0, 0, 0)))


def route(
    gateway: int, table: int = 254, flags: int = 0, kind: int = NEW_ROUTE, how: int = 0
) -> bytes:
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, table, 3, 0, 1, flags)
    attributes = (5, bytes([10, 0, 0, gateway])), (12, os.urandom(32))
    return message(kind, head, *attributes, how=how)


# Which news is a change


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        ((link(2), link(2)), (True, False)),
        ((link(2), link(2, flags=UP & ~0x10000), link(2)), (True, True, True)),
        ((link(2), link(2, flags=UP | 0x1000)), (True, False)),
        ((link(2), link(3), link(2, kind=DEL_LINK), link(2)), (True, True, True, True)),
        ((link(2, family=socket.AF_BRIDGE),), (False,)),
        ((address(1, 600), address(1, 900)), (True, False)),
        ((address(1, 600), address(2, 600)), (True, True)),
        ((address(1, 9, flags=0x40), address(1, 9, flags=0x80)), (True, True)),
        ((address(1, 9), address(1, 0, kind=DEL_ADDRESS), address(1, 9)), (True, True, True)),
        ((route(1), route(1), route(2)), (True, False, True)),
        ((route(1), route(1, how=REPLACES)), (True, True)),
        ((link(2), link(2, how=REPLACES)), (True, False)),
        ((route(1), route(1, kind=DEL_ROUTE), route(1)), (True, True, True)),
        ((route(1, table=255),), (False,)),
        ((route(1, flags=0x200),), (False,)),
        ((message(99, b"?" * 40), message(2, b"")), (False, False)),
        ((link(2) + link(2), link(2) + address(1, 9)), (True, True)),
    ],
)
def test_only_what_is_new_is_a_change(told: tuple[bytes, ...], changes: tuple[bool, ...]) -> None:
    network = NetworkChanges()

    assert tuple(network.feed(datagram) for datagram in told) == changes


def test_what_is_remembered_is_bounded() -> None:
    network = NetworkChanges()
    for index in range(MAX_KNOWN + 1):
        network.feed(link(index))

    assert not network.feed(link(MAX_KNOWN))
    assert network.feed(link(0))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                message,
                st.sampled_from([NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE]),
                st.binary(max_size=60),
            ),
        )
    )
)
def test_no_message_is_an_error(datagrams: list[bytes]) -> None:
    network = NetworkChanges()

    for datagram in datagrams:
        network.feed(datagram)
    network.feed(b"".join(datagrams))


# When it wakes


class Wakes:
    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(trio.current_time())


async def test_a_burst_of_changes_wakes_at_once_and_again_for_what_follows(
    autojump_clock: MockClock,
) -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    wakes, start = Wakes(), trio.current_time()

    with ours, kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_changes, ours, wakes)
            for index in range(4):
                kernel.send(link(index))
                await trio.sleep(BURST_S / 2)
            await trio.sleep(1)
            kernel.send(link(9))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    assert [when - start for when in wakes.times] == [
        pytest.approx(moment) for moment in (0, BURST_S, 3 * BURST_S, 1 + 2 * BURST_S)
    ]


async def test_changes_without_end_wake_about_once_a_second(autojump_clock: MockClock) -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    wakes = Wakes()

    with ours, kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_changes, ours, wakes)
            for index in range(2000):
                kernel.send(link(index))
                await trio.sleep(BURST_S / 4)
            nursery.cancel_scope.cancel()

    pauses = [later - earlier for earlier, later in pairwise(wakes.times)]
    assert pauses[-1] == pytest.approx(MAX_BURST_S)
    assert len(pauses) == pytest.approx(500 * BURST_S / MAX_BURST_S + 5, abs=1)


async def test_news_that_is_no_change_wakes_nobody(autojump_clock: MockClock) -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    wakes = Wakes()

    with ours, kernel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_changes, ours, wakes)
            for lifetime in (600, 500, 400):
                kernel.send(address(1, lifetime))
                await trio.sleep(60)
            nursery.cancel_scope.cancel()

    assert len(wakes.times) == 1


WATCHER = """
import subprocess, trio
from trio.testing import wait_all_tasks_blocked
from trioet.client.wakers import watch_network

async def main():
    woken, wakes = trio.open_memory_channel(99)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_network, lambda: woken.send_nowait(None))
        await wait_all_tasks_blocked()
        for command in (
            "ip link set lo up",
            "ip address add 10.9.8.7/24 dev lo",
            "ip route add 10.1.0.0/16 dev lo",
            "ip address delete 10.9.8.7/24 dev lo",
        ):
            subprocess.run(command.split(), check=True)
            with trio.fail_after(5):
                await wakes.receive()
            print(command)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


def network_of_its_own() -> list[str]:
    """A command prefix for a network namespace, which users may have as well as root."""
    for options in (["--user", "--map-root-user", "--net"], ["--net"]):
        if (
            shutil.which("unshare")
            and not subprocess.run(
                ["unshare", *options, "true"], check=False, stderr=subprocess.DEVNULL
            ).returncode
        ):
            return ["unshare", *options]
    pytest.skip("no network namespaces here")


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_each_real_change_of_the_network_wakes() -> None:
    command = [*network_of_its_own(), sys.executable, "-c", WATCHER]

    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert result.stderr == ""
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        "link",
        "address",
        "route",
        "address",
    ]


# The clock


async def test_the_timer_is_armed_to_end_when_the_clock_is_set() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_resume, Wakes())
        await wait_all_tasks_blocked()
        (timer,) = timers()
        nursery.cancel_scope.cancel()

    assert "clockid: 0" in timer
    assert "settime flags: 03" in timer
    assert timers() == []


def timers() -> list[str]:
    descriptors = Path("/proc/self/fd")
    return [
        Path("/proc/self/fdinfo", descriptor.name).read_text()
        for descriptor in descriptors.iterdir()
        if descriptor.is_symlink() and "timerfd" in os.readlink(descriptor)
    ]


class Clock:
    """In place of the kernel's timers: one that ends whenever the test sets the clock. The real
    clock is every process', also of the tests beside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timer, self._end = os.pipe()
        os.set_blocking(self.timer, False)
        self._read = os.read
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: self)
        monkeypatch.setattr(os, "read", self.read)

    def timerfd_create(self, clock: int, flags: int) -> int:
        return self.timer

    def timerfd_settime(self, *arguments: object) -> int:
        return 0

    def set(self) -> None:
        os.write(self._end, b"x")

    def read(self, descriptor: int, size: int) -> bytes:
        data = self._read(descriptor, size)
        if descriptor == self.timer:
            raise OSError(errno.ECANCELED, "the clock was set")
        return data

    def close(self) -> None:
        os.close(self._end)


async def test_a_clock_that_is_set_wakes_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    woken, wakes = trio.open_memory_channel[None](9)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_resume, lambda: woken.send_nowait(None))
        await wait_all_tasks_blocked()
        for _ in range(3):
            clock.set()
            with trio.fail_after(PATIENCE_S):
                await wakes.receive()
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            wakes.receive_nowait()
        nursery.cancel_scope.cancel()
    clock.close()
