"""Two links that face each other, for tests."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from lines import Cable
from trioet.errors import PacketError, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.wire.packet import Packet

KEY = b"12345678901234567890123456789012"
ID = b"1234567890123456"
DATA = 1


class Inbox:
    """A receiver that keeps everything, and may be told to balk or to be busy."""

    def __init__(self) -> None:
        self.link: ResumableLink | None = None
        self.packets: list[Packet] = []
        self.balk_at: bytes | None = None
        self.busy: trio.Event | None = None

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.packets]

    def packet_arrived(self, packet: Packet) -> None:
        if packet.payload == self.balk_at:
            raise PacketError("balked")
        self.packets.append(packet)

    async def ready(self) -> None:
        if self.busy is not None:
            await self.busy.wait()
        assert self.link is not None
        self.link.dealt_with()


class Pair:
    """A client link and a server link, and the cables between them."""

    def __init__(
        self, nursery: trio.Nursery, *, max_kept: int = 64 << 20, relays: bool = False
    ) -> None:
        self.nursery = nursery
        self.at_client, self.at_server = Inbox(), Inbox()
        self.client = ResumableLink(
            KEY, Role.CLIENT, self.at_client, max_kept=max_kept, relays=relays
        )
        self.server = ResumableLink(
            KEY, Role.SERVER, self.at_server, max_kept=max_kept, relays=relays
        )
        self.at_client.link, self.at_server.link = self.client, self.server
        self.ends: list[str] = []

    def connect(self, cable: Cable | None = None) -> Cable:
        """Run both ends of a cable."""
        cable = cable or Cable()
        self.nursery.start_soon(self.run_client, cable.client)
        self.nursery.start_soon(self.run_server, cable.server)
        return cable

    async def meet_and_part(self) -> None:
        """Open the session, then lose its line."""
        cable = self.connect()
        await wait_all_tasks_blocked()
        cable.cut()
        await wait_all_tasks_blocked()
        self.ends.clear()

    async def run_client(self, line: Line) -> None:
        try:
            await self.client.run_client_line(line, ID)
        except (LineBroken, TrioetError) as error:
            self.ends.append(f"client {type(error).__name__}: {error}")

    async def run_server(self, line: Line) -> None:
        try:
            await self.server.run_server_line(line, b"")
        except (LineBroken, TrioetError) as error:
            self.ends.append(f"server {type(error).__name__}: {error}")
