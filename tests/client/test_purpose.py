"""Sessions without a terminal: there for a purpose, and over with it, on both sides."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from served import Server, client_of
from trioet.client.app import PARTING_S
from trioet.client.console import Console
from trioet.errors import StepFailed
from trioet.session.forwards import Forwards


async def done_at_once(forwards: Forwards) -> None:
    await trio.lowlevel.checkpoint()


async def test_both_sides_end_when_it_is_served(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)
        begun = trio.current_time()
        assert await client_of(nothing_shown, server, done_at_once).run() == 0
        await server.ended.wait()
        assert trio.current_time() - begun < 1
        nursery.cancel_scope.cancel()


async def test_both_sides_end_when_it_fails_and_the_failure_is_told(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async def fail(forwards: Forwards) -> None:
        await trio.lowlevel.checkpoint()
        raise StepFailed("pipe", "it cannot be")

    async with trio.open_nursery() as nursery:
        server = Server(nursery)
        with pytest.raises(StepFailed, match="it cannot be"):
            await client_of(nothing_shown, server, fail).run()
        await server.ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_server_that_cannot_be_told_now_is_told_when_the_network_is_back(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def cut(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.cut()

        async def come_back() -> None:
            await trio.sleep(PARTING_S / 2)
            server.reachable = True

        nursery.start_soon(come_back)
        assert await client_of(nothing_shown, server, cut).run() == 0
        await server.ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_network_that_stays_away_is_not_waited_for_for_ever(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def cut(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.cut()

        begun = trio.current_time()
        assert await client_of(nothing_shown, server, cut).run() == 0
        assert PARTING_S <= trio.current_time() - begun < PARTING_S + 1
        assert not server.ended.is_set()
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_know_the_session_has_heard_it(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def forget(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.knows = False
            assert server.cable is not None
            server.cable.cut()

        begun = trio.current_time()
        assert await client_of(nothing_shown, server, forget).run() == 0
        assert trio.current_time() - begun < PARTING_S / 2
        nursery.cancel_scope.cancel()
