"""When a gateway is logged in to again. Whole sessions are in tests/e2e."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from served import Server, client_of
from trioet.client.console import Console
from trioet.errors import StepFailed
from trioet.health.endpoint import Health
from trioet.proxy.figures import Figures
from trioet.proxy.gateway import (
    AWAY_S,
    BACK_S,
    FIRST_PAUSE_S,
    HOLD_S,
    LONGEST_PAUSE_S,
    Carrier,
    Gateway,
)
from trioet.wire.forward import Address

DESTINATION = Address("db", 5432)


class NoGateway:
    """Nobody gets in."""

    def __init__(self) -> None:
        self.tried: list[float] = []

    async def open_session(self, carrier: Carrier) -> None:
        self.tried.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise StepFailed("ssh", "no route to host")


async def test_pauses_between_logins_grow_and_vary(autojump_clock: MockClock) -> None:
    host, figures = NoGateway(), Figures()
    gateway = Gateway("host", host.open_session, DESTINATION, figures, jitter=random.Random(1))
    with trio.move_on_after(600):
        await gateway.run()

    pauses = [later - earlier for earlier, later in zip(host.tried, host.tried[1:], strict=False)]
    usual = [min(FIRST_PAUSE_S * 2**number, LONGEST_PAUSE_S) for number in range(len(pauses))]
    shares = [pause / share for pause, share in zip(pauses, usual, strict=True)]
    assert all(0.74 < share < 1.26 for share in shares)
    assert len({round(share, 6) for share in shares}) == len(shares) > 10
    assert figures.health().text == "no session with host: no route to host"


async def test_a_connection_is_reset_when_no_session_came_for_it(
    autojump_clock: MockClock,
) -> None:
    host, figures = NoGateway(), Figures()
    gateway = Gateway("host", host.open_session, DESTINATION, figures)
    ours, its = socket.socketpair()
    with ours:
        begun = trio.current_time()
        await gateway.carry(its)
        assert trio.current_time() - begun == pytest.approx(HOLD_S)
        assert ours.recv(1) == b""
    assert figures.failed == 1


async def test_to_stop_ends_the_login_that_is_under_way(autojump_clock: MockClock) -> None:
    ended = False

    async def hang(carrier: Carrier) -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    gateway = Gateway("host", hang, DESTINATION, Figures())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.run)
        await trio.sleep(1)
        gateway.stop()
    assert ended


class Farther:
    """A gateway, and what becomes of the machine there."""

    def __init__(self, nursery: trio.Nursery, console: Console) -> None:
        self.servers: list[Server] = []
        self.lets_in = True
        self.on_login: Callable[[], None] = lambda: None
        self._nursery = nursery
        self._console = console

    async def open_session(self, carrier: Carrier) -> None:
        await trio.sleep(1)
        if not self.lets_in:
            raise StepFailed("ssh", "no route to host")
        self.on_login()
        server = Server(self._nursery)
        self.servers.append(server)
        client = client_of(self._console, server, carrier.carry)
        carrier.began(client)
        await client.run()

    @property
    def there(self) -> list[bool]:
        """Which of its sessions have not ended, on its side."""
        return [not server.ended.is_set() for server in self.servers]


@asynccontextmanager
async def kept(console: Console) -> AsyncIterator[tuple[Gateway, Farther, Figures]]:
    """A gateway whose session is kept."""
    async with trio.open_nursery() as nursery:
        far, figures = Farther(nursery, console), Figures()
        gateway = Gateway("host", far.open_session, DESTINATION, figures)
        nursery.start_soon(gateway.run)
        await trio.sleep(5)
        assert (far.there, figures.health()) == ([True], Health())
        yield gateway, far, figures
        nursery.cancel_scope.cancel()


async def test_a_session_that_was_away_for_long_comes_back(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with kept(nothing_shown) as (_, far, figures):
        far.lets_in = False
        far.servers[0].cut()
        await trio.sleep(3600)
        assert figures.health() == Health(well=False, text="no connection to host")
        far.lets_in = far.servers[0].reachable = True
        await trio.sleep(60)
        assert (figures.sessions, figures.health()) == (1, Health())
        # A login may have got through just before it came back.
        assert far.there[0]
        assert not any(far.there[1:])


async def test_a_session_that_comes_back_when_another_got_through_is_kept(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with kept(nothing_shown) as (_, far, figures):

        def back() -> None:
            far.servers[0].reachable = True

        far.on_login = back
        far.servers[0].cut()
        await trio.sleep(60)
        assert (far.there[0], figures.sessions, figures.health()) == (True, 1, Health())
        assert not any(far.there[1:])


async def test_a_session_that_does_not_come_back_is_replaced(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with kept(nothing_shown) as (gateway, far, figures):
        far.servers[0].knows = False
        far.servers[0].cut()
        far.servers[0].reachable = True
        await trio.sleep(AWAY_S + BACK_S + 5)
        assert (far.there[1:], figures.sessions, figures.health()) == ([True], 2, Health())
        gateway.stop()
        await trio.sleep(5)
        assert far.there[1:] == [False]


async def test_a_session_that_is_ended_there_is_opened_again(
    nothing_shown: Console, autojump_clock: MockClock
) -> None:
    async with kept(nothing_shown) as (_, far, figures):
        far.servers[0].farewell("ended by --kill-other-sessions")
        await trio.sleep(30)
        assert (far.there[1:], figures.sessions, figures.health()) == ([True], 2, Health())
