"""Sessions through relays: real keepers and routers, each a machine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chains import Machine, Traveller


class World:
    """Machines, made as they are needed."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.nursery = nursery

    async def machines(self, count: int) -> list[Machine]:
        return [
            await Machine(self.directory / f"m{number}", self.nursery).begin()
            for number in range(count)
        ]


@pytest.fixture
async def world(runtime_dir: Path) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(runtime_dir, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_a_session_through_relays(world: World, hops: int) -> None:
    machines = await world.machines(hops + 1)
    traveller = await Traveller(world.nursery, machines).travel()
    await traveller.echoes(b"hello")
    assert [machine.router.door.accepted for machine in machines] == [1] * (hops + 1)


@pytest.mark.parametrize("leg", [0, 1, 2])
async def test_a_cut_on_any_leg_loses_nothing(world: World, leg: int) -> None:
    """And the next connection goes end to end: no relay has anything to catch up."""
    machines = await world.machines(3)
    traveller = await Traveller(world.nursery, machines).travel()
    for number in range(5):
        await traveller.echoes(b"<%d>" % number)
        machines[leg].cutter.cut()
        traveller.type(b"typed without a line ")
        await traveller.until_shown(b"typed without a line " * (number + 1))
    assert traveller.link.lines_proven >= 5
