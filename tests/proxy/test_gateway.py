"""When a gateway is logged in to again. Whole sessions are in tests/e2e."""

from __future__ import annotations

import random
import socket

import pytest
import trio
from trio.testing import MockClock

from trioet.errors import StepFailed
from trioet.proxy.figures import Figures
from trioet.proxy.gateway import FIRST_PAUSE_S, HOLD_S, LONGEST_PAUSE_S, Carrier, Gateway
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
