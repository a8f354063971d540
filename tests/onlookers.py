"""A keeper with a session on a pty, and those who look on at it, each over a link of its own."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from callers import Caller, ask, invitation, refusal
from pairs import Inbox
from trioet.errors import TrioetError
from trioet.link.line import LineBroken, SocketLine
from trioet.link.reconnect import Reconnector
from trioet.link.resumable import ResumableLink, Role
from trioet.server.keeper import Keeper
from trioet.server.places import guests_socket
from trioet.server.share_request import (
    AnyShareRequest,
    RevokeRequest,
    ShareRequest,
    SharesRequest,
    TakeRequest,
)
from trioet.server.shares import BOX
from trioet.wire.channels import ChannelCredit, encode_channel
from trioet.wire.messages import (
    LEFT,
    InitialPayload,
    SessionOver,
    WindowSize,
    decode_session_over,
    decode_size,
    decode_terminal_buffer,
    encode_initial_payload,
    encode_session_over,
    encode_terminal_buffer,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.sealing import Direction, SealedBox
from waiting import until

FEATURES = ("acks", "over", "channels", "quiet", "size")


def open_box(key: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What a browser finds in what it got for its ticket."""
    box = SealedBox(key.encode(), Direction.SERVER_TO_CLIENT)
    found: dict[str, Any] = json.loads(box.open(BOX, base64.b64decode(answer["sealed"])))
    return found


async def dial_guests() -> SocketLine:
    """Connect as `trioet web` does for a browser."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        sock.connect(guests_socket())
    except OSError as error:
        sock.close()
        raise LineBroken(str(error)) from error
    return SocketLine(sock)


class Onlooker(Inbox):
    """A viewer; gives credit for what it has shown, unless it is ``stalled``."""

    def __init__(self, nursery: trio.Nursery, box: dict[str, Any]) -> None:
        super().__init__()
        self.box = box
        self.stalled = False
        self.lost: TrioetError | None = None
        self.client_id = box["id"].encode()
        self.link = self.wire = ResumableLink(box["passkey"].encode(), Role.CLIENT, self)
        self.wire.agree_acks()
        payload = InitialPayload(features=FEATURES)
        self.wire.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        self.nursery = nursery
        self.scope = trio.CancelScope()
        nursery.start_soon(self._keep_connected)

    async def _keep_connected(self) -> None:
        reconnector = Reconnector(self.wire, self.client_id, dial_guests)
        self.wire.on_change = reconnector.line_changed
        try:
            with self.scope:
                await reconnector.run()
        except* TrioetError as errors:
            self.lost = next(each for each in errors.exceptions if isinstance(each, TrioetError))

    def packet_arrived(self, packet: Packet) -> None:
        super().packet_arrived(packet)
        if packet.type == PacketType.TERMINAL_BUFFER and not self.stalled:
            self.grant(len(decode_terminal_buffer(packet.payload)))

    def grant(self, amount: int) -> None:
        """Let so many bytes more come."""
        self.wire.send(PacketType.CHANNEL, encode_channel(ChannelCredit(0, amount)))

    def cut(self) -> None:
        """Lose the connection; it comes again."""
        for line in self.wire.lines:
            line.close()

    def type(self, text: bytes) -> None:
        self.wire.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))

    def leave(self) -> None:
        """Close the page for good."""
        over = encode_session_over(SessionOver(reason=LEFT))
        self.wire.send(PacketType.SESSION_OVER, over)

    @property
    def shown(self) -> bytes:
        """All that it was shown."""
        return b"".join(
            decode_terminal_buffer(packet.payload)
            for packet in self.packets
            if packet.type == PacketType.TERMINAL_BUFFER
        )

    async def until_shown(self, text: bytes) -> None:
        await until(lambda: text in self.shown, 20)

    @property
    def sizes(self) -> list[WindowSize]:
        """The sizes that it was told, in order."""
        return [
            decode_size(packet.payload) for packet in self.packets if packet.type == PacketType.SIZE
        ]

    @property
    def over(self) -> str:
        """Why it is shown no more; empty while it is."""
        for packet in self.packets:
            if packet.type == PacketType.SESSION_OVER:
                return decode_session_over(packet.payload).reason
        return ""

    async def heard(self) -> None:
        """Wait until all was dealt with that was said so far."""
        self.wire.ping()
        self.wire.round_trip = 0.0
        await until(lambda: self.wire.round_trip, 20)


class Theatre:
    """A keeper in this process; its one session runs a command on a pty."""

    def __init__(self, nursery: trio.Nursery, directory: Path, port: int) -> None:
        self.nursery = nursery
        self.path = str(directory / "keeper.sock")
        self.keeper = Keeper()
        self.owner = Caller(nursery)
        self.owner.link.agree_acks()
        self.name = ""
        self.port = port
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        nursery.start_soon(self.keeper.run, listener)

    async def open(self, command: bytes) -> None:
        """Begin the session; the command says ``ready`` when it is."""
        answer = await ask(self.path, self.owner.request(ports=(self.port, self.port)))
        self.owner.begin(
            invitation(answer)["port"], b'echo "[$TRIOET_SESSION]"; ' + command, pty=True
        )
        await self.owner.until_shown(b"ready")
        self.name = self.owner.shown.partition(b"[")[2].partition(b"]")[0].decode()

    async def ask(self, request: AnyShareRequest) -> dict[str, Any]:
        return invitation(await ask(self.path, request.encode()))

    async def refused(self, request: AnyShareRequest) -> str:
        return refusal(await ask(self.path, request.encode()))["what"]

    async def share(self, *, write: bool = False, expires_s: int = 3600) -> dict[str, Any]:
        """A link."""
        return await self.ask(ShareRequest(self.name, write, expires_s))

    async def look_on(self, *, write: bool = False, expires_s: int = 3600) -> Onlooker:
        """Somebody who opened a link, and is shown something."""
        link = await self.share(write=write, expires_s=expires_s)
        onlooker = Onlooker(self.nursery, await self.take(link))
        await until(lambda: onlooker.shown, 20)
        return onlooker

    async def take(self, link: dict[str, Any], source: str = "192.0.2.7") -> dict[str, Any]:
        """Open a link; return what is in its box."""
        return open_box(link["key"], await self.ask(TakeRequest(link["ticket"], source)))

    async def shares(self) -> list[dict[str, Any]]:
        shares: list[dict[str, Any]] = (await self.ask(SharesRequest(self.name)))["shares"]
        return shares

    async def revoke(self, number: int | None = None) -> list[int]:
        revoked: list[int] = (await self.ask(RevokeRequest(self.name, number)))["revoked"]
        return revoked


CAT = b"stty -echo; echo ready; exec cat"


@asynccontextmanager
async def theatre(directory: Path, port: int, command: bytes = CAT) -> AsyncIterator[Theatre]:
    """A session that can be shared; all ends with the block."""
    async with trio.open_nursery() as nursery:
        stage = Theatre(nursery, directory, port)
        await stage.open(command)
        yield stage
        nursery.cancel_scope.cancel()
