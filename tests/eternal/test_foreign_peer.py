"""A peer that has the key, and does what no trioet does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from unittest.mock import patch

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lines import Cable
from pairs import ID, KEY, Inbox
from trioet import EternalStream
from trioet.errors import TrioetError
from trioet.eternal.flow import Flow
from trioet.link import room
from trioet.link.line import LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.wire.packet import PacketType
from trioet.wire.stream_messages import (
    MAX_MESSAGE,
    Message,
    Part,
    encode_data,
    encode_stream_message,
)


class Foreigner:
    """A client's link, and a server's stream at its other end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        inbox = Inbox()
        self.link = inbox.link = ResumableLink(KEY, Role.CLIENT, inbox)
        self.flow = Flow(KEY, Role.SERVER)
        self.stream = EternalStream(self.flow, ID, close_timeout=1)
        self.ends: list[str] = []
        self._nursery = nursery

    async def connect(self) -> None:
        cable = Cable()
        self._nursery.start_soon(self._run_server, cable)
        self._nursery.start_soon(self._run_client, cable)
        self.link.send_keepalive()
        await wait_all_tasks_blocked()

    async def _run_server(self, cable: Cable) -> None:
        try:
            await self.flow.link.run_server_line(cable.server, b"")
        except (LineBroken, TrioetError) as error:
            self.ends.append(str(error))

    async def _run_client(self, cable: Cable) -> None:
        with suppress(LineBroken, TrioetError):
            await self.link.run_client_line(cable.client, ID)


@asynccontextmanager
async def foreigner() -> AsyncIterator[Foreigner]:
    async with trio.open_nursery() as nursery:
        made = Foreigner(nursery)
        await made.connect()
        yield made
        nursery.cancel_scope.cancel()


async def test_who_sends_more_than_it_may_loses_the_session() -> None:
    async with foreigner() as peer:
        for _ in range(2 * room.WINDOW // 16_384):
            peer.link.send(PacketType.STREAM, encode_data(bytes(16_384)))
        await wait_all_tasks_blocked()

        # What it might send is there to be read.
        assert len(await peer.stream.receive_some()) == room.WINDOW
        with pytest.raises(trio.BrokenResourceError, match="sends more than it may"):
            await peer.stream.receive_some()


async def test_messages_count_as_well() -> None:
    async with foreigner() as peer:
        for _ in range(3000):
            peer.link.send(PacketType.STREAM, encode_stream_message(Message(b"")))
        await wait_all_tasks_blocked()
        assert peer.stream.statistics().messages_received < 2100
        with pytest.raises(trio.BrokenResourceError, match="sends more than it may"):
            await peer.stream.send(b"x")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(PacketType.CHANNEL, encode_data(b"x")), (PacketType.STREAM, b"\x2anonsense")],
)
async def test_what_makes_no_sense_costs_its_connection_and_nothing_else(
    kind: PacketType, payload: bytes
) -> None:
    async with foreigner() as peer:
        peer.link.send(kind, payload)
        await wait_all_tasks_blocked()

        assert len(peer.ends) == 1
        assert not peer.flow.over.is_set()
        assert not peer.stream.link_state.connected
        assert peer.flow.link.received == 1


async def test_a_stream_that_has_counted_to_the_end_is_over() -> None:
    async with foreigner() as peer:
        with (
            patch.object(room, "MAX_SEQUENCE", room.LAST_PACKETS),
            pytest.raises(trio.BrokenResourceError, match="as many packets as it can count"),
        ):
            await peer.stream.send_all(b"x")


async def test_a_message_of_too_many_parts_ends_the_session() -> None:
    async with foreigner() as peer:
        for _ in range(MAX_MESSAGE // 16_384 + 1):
            peer.link.send(PacketType.STREAM, encode_stream_message(Part(bytes(16_384))))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError, match="a message that is too long"):
            await peer.stream.receive()
