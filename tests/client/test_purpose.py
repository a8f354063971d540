"""Sessions without a terminal: there for a purpose, and over with it, on both sides."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import ID, KEY
from trioet.client.app import PARTING_S, Client, Wish
from trioet.client.console import Console, open_console
from trioet.errors import StepFailed, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.session.forwards import Forwards
from trioet.session.terminal import Origin, TerminalSession
from trioet.wire.handshake import connect_response_frame
from trioet.wire.messages import ConnectResponse, ConnectStatus, Exec


class Server:
    """A server's end, and the network between."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.ended = trio.Event()
        self.reachable = True
        self.knows = True
        self.cable: Cable | None = None
        self._nursery = nursery
        self._session = TerminalSession(Origin("xterm", {}, "1.1"))
        self._link = ResumableLink(KEY, Role.SERVER, self._session)
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await self._session.run(self._link)
        self._link.close()
        self.knows = False
        self.ended.set()

    async def dial(self) -> Line:
        if not self.reachable:
            raise LineBroken("there is no network")
        self.cable = Cable()
        self._nursery.start_soon(self._serve, self.cable.server)
        return self.cable.client

    async def _serve(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            if self.knows:
                await self._link.run_server_line(line, b"")
            else:
                unknown = ConnectResponse(ConnectStatus.INVALID_KEY)
                line.try_send(connect_response_frame(unknown))


@pytest.fixture
def console() -> Iterator[Console]:
    nothing = os.open(os.devnull, os.O_RDWR)
    with open_console(nothing, nothing, raw=False) as made:
        yield made
    os.close(nothing)


def client(
    console: Console, server: Server, purpose: Callable[[Forwards], Awaitable[None]]
) -> Client:
    wish = Wish(
        client_id=ID,
        passkey=KEY,
        host="there",
        dial=server.dial,
        environment={},
        exec=Exec(nothing=True),
        has_terminal=False,
        purpose=purpose,
    )
    return Client(wish, console, lambda data: None)


async def done_at_once(forwards: Forwards) -> None:
    await trio.lowlevel.checkpoint()


async def test_both_sides_end_when_it_is_served(
    console: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)
        begun = trio.current_time()
        assert await client(console, server, done_at_once).run() == 0
        await server.ended.wait()
        assert trio.current_time() - begun < 1
        nursery.cancel_scope.cancel()


async def test_both_sides_end_when_it_fails_and_the_failure_is_told(
    console: Console, autojump_clock: MockClock
) -> None:
    async def fail(forwards: Forwards) -> None:
        await trio.lowlevel.checkpoint()
        raise StepFailed("pipe", "it cannot be")

    async with trio.open_nursery() as nursery:
        server = Server(nursery)
        with pytest.raises(StepFailed, match="it cannot be"):
            await client(console, server, fail).run()
        await server.ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_server_that_cannot_be_told_now_is_told_when_the_network_is_back(
    console: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def cut(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.reachable = False
            assert server.cable is not None
            server.cable.cut()

        async def come_back() -> None:
            await trio.sleep(PARTING_S / 2)
            server.reachable = True

        nursery.start_soon(come_back)
        assert await client(console, server, cut).run() == 0
        await server.ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_network_that_stays_away_is_not_waited_for_for_ever(
    console: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def cut(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.reachable = False
            assert server.cable is not None
            server.cable.cut()

        begun = trio.current_time()
        assert await client(console, server, cut).run() == 0
        assert PARTING_S <= trio.current_time() - begun < PARTING_S + 1
        assert not server.ended.is_set()
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_know_the_session_has_heard_it(
    console: Console, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def forget(forwards: Forwards) -> None:
            await wait_all_tasks_blocked()
            server.knows = False
            assert server.cable is not None
            server.cable.cut()

        begun = trio.current_time()
        assert await client(console, server, forget).run() == 0
        assert trio.current_time() - begun < PARTING_S / 2
        nursery.cancel_scope.cancel()
