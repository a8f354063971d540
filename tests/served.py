"""Sessions that run nothing, between a client and a server's end that are real, over a network
that the test makes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio

from lines import Cable
from pairs import ID, KEY
from trioet.client.app import Client
from trioet.client.console import Console, open_console
from trioet.client.wish import Wish
from trioet.errors import TrioetError
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

    def farewell(self, reason: str) -> None:
        """End the session there, and tell the client."""
        self._session.farewell(reason)

    def cut(self) -> None:
        """The network is gone, and the connection."""
        self.reachable = False
        assert self.cable is not None, "there was one"
        self.cable.cut()

    async def _serve(self, line: Line) -> None:
        with suppress(LineBroken, TrioetError):
            if self.knows:
                await self._link.run_server_line(line, b"")
            else:
                unknown = ConnectResponse(ConnectStatus.INVALID_KEY)
                line.try_send(connect_response_frame(unknown))


@pytest.fixture
def nothing_shown() -> Iterator[Console]:
    """A console for who has nothing to show."""
    nothing = os.open(os.devnull, os.O_RDWR)
    with open_console(nothing, nothing, raw=False) as made:
        yield made
    os.close(nothing)


def client_of(
    console: Console, server: Server, purpose: Callable[[Forwards], Awaitable[None]]
) -> Client:
    """A client of that server, which is there for its purpose."""
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
