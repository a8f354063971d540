"""Tunnels while the network fails and the router dies: not a byte is lost or doubled."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import Person
from trioet.demo.cutter import Cutter
from tunnelled import carries, connect_when_open, echo_server, exchange, session
from waiting import until

pytestmark = pytest.mark.e2e

CUTS: Final = 20
STREAMS: Final = 4
"""Through each of the two tunnels."""
BETWEEN_CUTS: Final = 300_000
"""Bytes that the network carries from one cut to the next."""
CHUNK: Final = 16 * 1024
PATIENCE_S: Final = 60.0


@dataclass
class Troubled:
    """A session whose network is cut by the test, and a tunnel each way to an echo."""

    person: Person
    far_side: FarSide
    cutter: Cutter
    port: int
    ports: tuple[int, int]

    async def cut(self) -> None:
        """Cut the connection, as soon as there is one."""
        before = self.cutter.cuts

        def has_cut() -> bool:
            self.cutter.cut()
            return self.cutter.cuts > before

        await until(has_cut)

    def restart_router(self) -> None:
        self.far_side.stop_router(signal.SIGKILL)
        self.far_side.start_router(self.port)


@asynccontextmanager
async def troubled(far_side: FarSide, *arguments: str) -> AsyncIterator[Troubled]:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery, echo_server() as end:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        here, there = free_ports(2)
        tunnels = ["-L", f"{here}:localhost:{end}", "-R", f"{there}:localhost:{end}"]
        async with session(
            far_side, "--via", "direct", "-p", str(near), *tunnels, *arguments
        ) as person:
            for tunnel in (here, there):
                await carries(tunnel)
            yield Troubled(person, far_side, cutter, port, (here, there))
        nursery.cancel_scope.cancel()


async def flood(port: int, goes_on: Callable[[], bool]) -> None:
    """Send through an echo until told to stop; check that the same comes back."""
    sent, came = hashlib.sha256(), hashlib.sha256()
    async with await connect_when_open(port) as stream, trio.open_nursery() as nursery:

        async def say() -> None:
            while goes_on():
                data = os.urandom(CHUNK)
                sent.update(data)
                await stream.send_all(data)
            await stream.send_eof()

        nursery.start_soon(say)
        async for data in stream:
            came.update(data)
    assert came.digest() == sent.digest()


async def test_streams_both_ways_come_whole_through_cuts_and_dead_routers(
    far_side: FarSide,
) -> None:
    async with troubled(far_side) as trouble, trio.open_nursery() as streams:
        for port in trouble.ports * STREAMS:
            streams.start_soon(flood, port, lambda: trouble.cutter.cuts < CUTS)
        for cuts in range(1, CUTS + 1):
            with trio.fail_after(PATIENCE_S):
                await trouble.cutter.wait_relayed(BETWEEN_CUTS)
            await trouble.cut()
            if cuts in (CUTS // 3, 2 * CUTS // 3):
                trouble.restart_router()
            if cuts % 5 == 0:
                assert await trouble.person.run(b"echo %d" % cuts) == b"%d\r\n" % cuts


async def test_connections_that_open_and_close_at_the_moment_of_a_cut(far_side: FarSide) -> None:
    """One after the other, each of another size; cuts fall wherever they fall."""
    exchanged: list[int] = []

    async def come_and_go(port: int, goes_on: Callable[[], bool]) -> None:
        for number in count():
            if not goes_on():
                break
            data = os.urandom(number % 50 * 997)
            async with await connect_when_open(port) as stream:
                assert await exchange(stream, data) == data
            exchanged.append(len(data))

    async with troubled(far_side) as trouble, trio.open_nursery() as comers:
        for port in trouble.ports * STREAMS:
            comers.start_soon(come_and_go, port, lambda: trouble.cutter.cuts < CUTS)
        for cuts in range(CUTS):
            enough = len(exchanged) + cuts % 7
            await until(partial(exceeds, exchanged, enough), PATIENCE_S)
            await trouble.cut()


def exceeds(things: Sized, count: int) -> bool:
    return len(things) > count


async def test_who_connects_while_the_network_is_away_is_served_when_it_is_back(
    far_side: FarSide,
) -> None:
    async with troubled(far_side) as trouble, trio.open_nursery() as nursery:
        trouble.cutter.refuse = True
        await trouble.cut()
        await trouble.person.until(b"no reply from farside")
        for port in trouble.ports:
            nursery.start_soon(carries, port)
        for port in trouble.ports:  # and some that give up meanwhile
            async with await connect_when_open(port) as stream:
                await stream.send_all(b"never mind")
        trouble.cutter.refuse = False


async def test_tunnels_stand_when_the_network_is_away_for_a_while(far_side: FarSide) -> None:
    async with troubled(far_side) as trouble:
        here, there = trouble.ports
        async with await connect_when_open(here) as one, await connect_when_open(there) as two:
            for stream in (one, two):
                await stream.send_all(b"before ")
                await stream.receive_some()
            trouble.cutter.refuse = True
            await trouble.cut()
            await trouble.person.until(b"no reply from farside")
            for stream in (one, two):
                await stream.send_all(b"meanwhile ")
            trouble.cutter.refuse = False
            for stream in (one, two):
                assert await exchange(stream, b"after") == b"meanwhile after"
