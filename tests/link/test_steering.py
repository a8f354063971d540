"""Two links whose client has two ways, one of them a fallback; the clock jumps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from lines import Cable
from pairs import DATA, ID, Pair
from trioet.link.line import Line
from trioet.link.reconnect import Reconnector
from trioet.link.steering import FIRST_PAUSE_S, LEAST_PAUSE_S, MOST_PAUSE_S, Steering
from trioet.link.ways import LOYALTY_S, Way, Ways


class Country:
    """A server, the port that leads there or not, and the fallback that always does."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.pair = Pair(nursery)
        self.open = True
        self.swallows = False
        self.asked: list[float] = []
        self.cables: list[Cable] = []
        self.detours = 0
        self.port = Way("port", self._dial_port)
        self.ssh = Way("ssh", partial(self._lay), fallback=True)
        self.ways = Ways([self.port, self.ssh])
        self.link = self.pair.client
        self.reconnector = Reconnector(self.link, ID, self.ways.dial, jitter=random.Random(3))
        self.link.on_change = self.reconnector.line_changed
        self.steering = Steering(
            self.link, self.reconnector, self.ways, tell_detour=self._tell_detour
        )
        nursery.start_soon(self.steering.run)
        nursery.start_soon(self.reconnector.run)
        nursery.start_soon(self._chat)
        self.said = 0

    def _tell_detour(self) -> None:
        self.detours += 1

    async def _lay(self) -> Line:
        self.cables.append(Cable())
        self.pair.nursery.start_soon(self.pair.run_server, self.cables[-1].server)
        return self.cables[-1].client

    async def _dial_port(self) -> Line:
        self.asked.append(trio.current_time())
        if self.swallows:
            return Cable().client
        if not self.open:
            raise ConnectionRefusedError(111, "Connection refused")
        return await self._lay()

    async def _chat(self) -> None:
        while True:
            for link in (self.pair.client, self.pair.server):
                link.send(DATA, b"%d" % self.said)
            self.said += 1
            await trio.sleep(0.7)

    @property
    def way(self) -> str:
        line = self.link.proven_line
        return "none" if line is None else self.ways.way_of(line).name

    def check_nothing_lost(self) -> None:
        numbers = [b"%d" % number for number in range(self.said)]
        assert self.pair.at_client.payloads == numbers
        assert self.pair.at_server.payloads == numbers


@pytest.fixture
async def country(autojump_clock: MockClock) -> AsyncIterator[Country]:
    async with trio.open_nursery() as nursery:
        yield Country(nursery)
        nursery.cancel_scope.cancel()


async def on_detour(country: Country) -> None:
    """Let the session lose its port, and go on over the fallback."""
    await trio.sleep(1)
    assert country.way == "port"
    country.open = False
    country.cables[-1].cut()
    await trio.sleep(LOYALTY_S + 3)
    assert country.way == "ssh"


async def test_a_session_that_can_go_directly_is_left_alone(
    country: Country, autojump_clock: MockClock
) -> None:
    await trio.sleep(1000)
    assert country.way == "port"
    assert (len(country.asked), country.detours) == (1, 0)


async def test_a_session_goes_over_the_fallback_and_comes_back(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    country.open = True
    old = country.cables[-1]
    await trio.sleep(2 * FIRST_PAUSE_S)
    assert country.way == "port"
    assert old.client.closed
    assert country.detours == 1
    country.check_nothing_lost()


async def test_the_old_line_goes_on_until_the_new_has_proven_itself(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    country.swallows = True
    said = country.said
    await trio.sleep(10 * FIRST_PAUSE_S)
    assert country.way == "ssh"
    assert country.said > said
    country.check_nothing_lost()
    country.swallows, country.open = False, True
    await trio.sleep(MOST_PAUSE_S)
    assert country.way == "port"
    country.check_nothing_lost()


async def test_a_port_that_stays_closed_is_tried_ever_more_seldom(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    country.asked.clear()
    await trio.sleep(3600)
    assert 10 <= len(country.asked) <= 3600 / MOST_PAUSE_S + 6
    assert country.detours == 1


async def test_a_change_of_the_network_is_a_reason_to_try(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    await trio.sleep(3600)
    country.asked.clear()
    country.open = True
    country.reconnector.wake()
    await trio.sleep(LEAST_PAUSE_S + 1)
    assert country.way == "port"


async def test_a_network_that_changes_all_the_time_is_no_reason_for_many(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    country.asked.clear()
    for _ in range(600):
        country.reconnector.wake()
        await trio.sleep(0.1)
    assert len(country.asked) <= 60 / LEAST_PAUSE_S + 1


async def test_each_way_back_that_does_not_hold_makes_the_next_later(
    country: Country, autojump_clock: MockClock
) -> None:
    await on_detour(country)
    changes = []
    for _ in range(4):
        country.open = True
        with trio.fail_after(1000):
            while country.way != "port":  # noqa: ASYNC110 - what is tested tells nobody
                await trio.sleep(0.5)
        changes.append(trio.current_time())
        country.open = False
        country.cables[-1].cut()
        await trio.sleep(LOYALTY_S + 3)
        assert country.way == "ssh"
    pauses = [late - early for early, late in pairwise(changes)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]
    country.check_nothing_lost()
