"""What is typed goes in order, waits for credit and room, and never hides an escape."""

from __future__ import annotations

import os
import pty
import random
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pairs import ID, KEY, Inbox, Pair
from trioet.client.app import Client
from trioet.client.console import open_console
from trioet.client.typed_ahead import INPUT_CHUNK, TYPED_AHEAD, TypedAhead
from trioet.client.wish import Wish
from trioet.errors import SessionUsedUp, StepFailed
from trioet.link import room
from trioet.link.line import Line
from trioet.link.resumable import ResumableLink, Role
from trioet.link.room import WINDOW
from trioet.wire.messages import (
    InitialResponse,
    decode_terminal_buffer,
    encode_initial_response,
)
from trioet.wire.packet import Packet, PacketType

PATIENCE_S = 20


def typed(inbox: Inbox) -> bytes:
    return b"".join(
        decode_terminal_buffer(packet.payload)
        for packet in inbox.packets
        if packet.type == PacketType.TERMINAL_BUFFER
    )


async def test_what_has_no_credit_waits_and_goes_in_order() -> None:
    text = random.Random(1).randbytes(3 * WINDOW)
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        pair.connect()
        await wait_all_tasks_blocked()
        ahead = TypedAhead(pair.client)
        ahead.credit.agree()
        nursery.start_soon(ahead.run)
        for start in range(0, len(text), 1000):
            ahead.put(text[start : start + 1000])
        await wait_all_tasks_blocked()
        assert WINDOW <= len(typed(pair.at_server)) < WINDOW + INPUT_CHUNK
        await ahead.wait_sent(but=2 * WINDOW)
        ahead.credit.grant(WINDOW)
        await ahead.wait_sent(but=WINDOW)
        await wait_all_tasks_blocked()
        ahead.credit.grant(WINDOW + 1)
        await ahead.wait_sent()
        ahead.put(b"at once")
        await wait_all_tasks_blocked()
        assert typed(pair.at_server) == text + b"at once"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["goes on", "is replaced"])
async def test_what_has_no_room_waits_until_the_line_goes_on_or_is_replaced(how: str) -> None:
    text = random.Random(2).randbytes(3 * WINDOW)
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        cable = pair.connect()
        await wait_all_tasks_blocked()
        pair.client.send_keepalive()
        pair.server.send_keepalive()  # so both are proven
        await wait_all_tasks_blocked()
        cable.stall()
        cable.client.out.capacity = WINDOW
        ahead = TypedAhead(pair.client)
        nursery.start_soon(ahead.run)
        for start in range(0, len(text), INPUT_CHUNK):
            ahead.put(text[start : start + INPUT_CHUNK])
        await wait_all_tasks_blocked()
        assert "waiting=0" not in repr(ahead)
        if how == "goes on":
            cable.stall(False)
        else:
            cable.cut()
            pair.connect()
        await ahead.wait_sent()
        await wait_all_tasks_blocked()
        assert typed(pair.at_server) == text
        nursery.cancel_scope.cancel()


async def test_a_session_that_is_used_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_SEQUENCE", room.LAST_PACKETS)
    ahead = TypedAhead(ResumableLink(KEY, Role.CLIENT, Inbox()))
    ahead.put(b"x")
    with pytest.raises(SessionUsedUp):
        await ahead.run()


async def nobody() -> Line:
    await trio.sleep_forever()


async def test_an_escape_is_heard_behind_a_paste_that_cannot_go() -> None:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    paste = b"x" * (WINDOW + TYPED_AHEAD - 100_000)
    with open_console(slave, slave) as console:
        wish = Wish(client_id=ID, passkey=KEY, host="there", dial=nobody, environment={})
        client = Client(wish, console, lambda data: None)
        with trio.fail_after(PATIENCE_S):
            await _type_and_leave(client, master, paste + b"\r~.")
    os.close(slave)
    os.close(master)


async def _type_and_leave(client: Client, keys: int, text: bytes) -> None:
    welcome = InitialResponse(b"", ("channels", "acks"), "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_left, client)
        await wait_all_tasks_blocked()
        client.packet_arrived(Packet(PacketType.INITIAL_RESPONSE, encode_initial_response(welcome)))
        while text:
            await wait_all_tasks_blocked()
            with suppress(BlockingIOError):
                text = text[os.write(keys, text) :]


async def _left(client: Client) -> None:
    with pytest.raises(StepFailed, match="disconnected from there"):
        await client.run()
