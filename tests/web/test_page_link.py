"""The page's end of the link, run by node: against known bytes, and against ResumableLink."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from page_files import node, run_node
from trioet.demo.cutter import Cutter
from trioet.errors import PeerError
from trioet.link.line import LineBroken, SocketLine
from trioet.link.resumable import ResumableLink, Role
from trioet.link.room import WINDOW
from trioet.session.credit import TERMINAL, Credit, Debt
from trioet.wire.channels import ChannelCredit, decode_channel, encode_channel
from trioet.wire.handshake import connect_response_frame
from trioet.wire.messages import (
    ConnectResponse,
    ConnectStatus,
    InitialResponse,
    SessionOver,
    WindowSize,
    decode_initial_payload,
    decode_terminal_buffer,
    decode_terminal_info,
    encode_initial_response,
    encode_session_over,
    encode_terminal_buffer,
)
from trioet.wire.packet import Packet, PacketType
from waiting import until

pytestmark = pytest.mark.proof

KEY = b"12345678901234567890123456789012"
ID = b"1234567890123456"
PAGE_TESTS = Path(__file__).parent / "page"
PATIENCE_S = 120
CHUNK = 16 * 1024
FEATURES = ("acks", "over", "exec", "channels", "quiet", "size", "notice")


def typed_pattern(size: int) -> bytes:
    """What peer.js types."""
    return bytes((at * 31 + (at >> 8)) & 0xFF for at in range(size))


def test_the_page_s_own_tests_pass() -> None:
    run_node("--test", *map(str, sorted(PAGE_TESTS.glob("*.test.js"))))


class FarEnd:
    """A server's end that prints what it is told to, and notes what was typed."""

    def __init__(self, features: tuple[str, ...] = FEATURES) -> None:
        self.link = ResumableLink(KEY, Role.SERVER, self)
        self.features = features
        self.typed = bytearray()
        self.sizes: list[WindowSize | None] = []
        self.granted = 0
        self.screen = Credit()
        self._begun = trio.Event()
        self._debt = Debt()
        self._offered: tuple[str, ...] | None = None

    def packet_arrived(self, packet: Packet) -> None:
        if self._offered is None:
            assert packet.type == PacketType.INITIAL_PAYLOAD
            self._offered = decode_initial_payload(packet.payload).features
            assert self._offered == FEATURES
            self.link.agree_acks()
            self.screen.agree()
            response = encode_initial_response(InitialResponse(b"", self.features, "0"))
            self.link.send(PacketType.INITIAL_RESPONSE, response)
            self._begun.set()
        elif packet.type == PacketType.TERMINAL_BUFFER:
            data = decode_terminal_buffer(packet.payload)
            self.typed += data
            if granted := self._debt.take(len(data)):
                credit = encode_channel(ChannelCredit(TERMINAL, granted))
                self.link.send(PacketType.CHANNEL, credit)
        elif packet.type == PacketType.TERMINAL_INFO:
            self.sizes.append(decode_terminal_info(packet.payload))
        else:
            assert packet.type == PacketType.CHANNEL
            message = decode_channel(packet.payload)
            assert isinstance(message, ChannelCredit)
            self.granted += message.amount
            self.screen.grant(message.amount)

    async def ready(self) -> None:
        self.link.dealt_with()

    async def print(self, data: bytes) -> None:
        """Print, as fast as the page shows it."""
        await self._begun.wait()
        for start in range(0, len(data), CHUNK):
            await self.screen.wait()
            await self.link.wait_room()
            part = data[start : start + CHUNK]
            self.screen.spend(len(part))
            self.link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(part))

    def end(self, over: SessionOver) -> None:
        self.link.send(PacketType.SESSION_OVER, encode_session_over(over))

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve a connection of the page's."""
        with suppress(LineBroken, PeerError):
            await self.link.run_server_line(line_of(stream), b"")


def line_of(stream: trio.SocketStream) -> SocketLine:
    return SocketLine(socket.socket(fileno=os.dup(stream.socket.fileno())))


class Page:
    """The page's end, in node, behind a network that fails."""

    def __init__(self, cutter: Cutter, port: int) -> None:
        self.cutter = cutter
        self.over = False
        self._port = port

    def is_over_or_moved(self, amount: int) -> bool:
        """True once the network has carried so many bytes, or will carry no more."""
        return self.over or self.cutter.bytes_relayed >= amount

    async def run(self, to_type: int = 0) -> dict[str, Any]:
        """Type so many bytes; return what came of the session when it is over."""
        words = [str(self._port), ID.decode(), KEY.decode(), str(to_type)]
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                [node(), str(PAGE_TESTS / "peer.js"), *words], capture_stdout=True
            )
        self.over = True
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@asynccontextmanager
async def page_of(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[Page]:
    """A page whose connections are served so."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        cutter = Cutter(listener.socket.getsockname()[1])
        yield Page(cutter, await nursery.start(cutter.serve))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(3))
async def test_every_byte_arrives_once_and_in_order_through_cuts(seed: int) -> None:
    chance = random.Random(seed)
    to_print, to_type = chance.randbytes(3_000_000), 600_000
    far = FarEnd()
    results = []
    async with page_of(far.serve) as page, trio.open_nursery() as nursery:

        async def run_page() -> None:
            results.append(await page.run(to_type))

        async def cut() -> None:
            moved = 0
            while not page.over:
                moved += chance.randrange(300_000)
                await until(partial(page.is_over_or_moved, moved), PATIENCE_S)
                page.cutter.cut()

        async def print_all() -> None:
            await far.print(to_print)
            await until(lambda: len(far.typed) >= to_type, PATIENCE_S)
            far.end(SessionOver(status=7))

        nursery.start_soon(run_page)
        nursery.start_soon(print_all)
        nursery.start_soon(cut)

    [result] = results
    assert result["over"] == {"status": 7, "signal": None, "reason": ""}
    assert result["received"] == len(to_print)
    assert result["digest"] == hashlib.sha256(to_print).hexdigest()
    assert far.typed == typed_pattern(to_type)
    assert page.cutter.cuts >= 5
    assert result["linesProven"] > 1
    assert result["bytesReplayed"] > 0


async def test_what_is_not_shown_is_not_sent() -> None:
    far = FarEnd()
    async with page_of(far.serve) as page, trio.open_nursery() as nursery:
        nursery.start_soon(page.run)
        await far.print(bytes(2 * WINDOW))
        assert far.granted >= WINDOW
        far.end(SessionOver(status=0))


async def test_a_session_that_is_refused_at_first_is_over_at_once() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        answer = ConnectResponse(ConnectStatus.INVALID_KEY, b"who are you?")
        await stream.send_all(connect_response_frame(answer))
        await trio.sleep_forever()

    async with page_of(refuse) as page:
        result = await page.run()
    assert result["refused"] == "who are you?"
    assert result["received"] == 0


async def test_a_refusal_without_a_seal_does_not_end_a_session() -> None:
    far = FarEnd()
    lies = 5
    told = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal told
        if far.link.established and told < lies:
            told += 1
            answer = ConnectResponse(ConnectStatus.INVALID_KEY, b"no")
            await stream.send_all(connect_response_frame(answer))
            return
        await far.serve(stream)

    async with page_of(serve) as page, trio.open_nursery() as nursery:
        results = []

        async def run_page() -> None:
            results.append(await page.run(100))

        nursery.start_soon(run_page)
        await until(lambda: len(far.typed) == 100)
        page.cutter.cut()
        await until(lambda: told == lies and far.link.lines_proven == 2, PATIENCE_S)
        far.end(SessionOver(status=0))
    assert results[0]["over"]["status"] == 0


async def test_who_has_not_the_key_is_not_believed() -> None:
    far = FarEnd()
    forged = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal forged
        if far.link.established and not forged:
            forged += 1
            impostor = ResumableLink(bytes(32), Role.SERVER, far)
            impostor.established = True
            impostor.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(b"rm -rf /"))
            with suppress(LineBroken, PeerError):
                await impostor.run_server_line(line_of(stream), b"")
            return
        await far.serve(stream)

    async with page_of(serve) as page, trio.open_nursery() as nursery:
        results = []

        async def run_page() -> None:
            results.append(await page.run(100))

        nursery.start_soon(run_page)
        await until(lambda: len(far.typed) == 100)
        page.cutter.cut()
        await until(lambda: forged and far.link.lines_proven == 2, PATIENCE_S)
        await far.print(b"hello")
        far.end(SessionOver(signal=9))
    assert results[0]["over"]["signal"] == 9
    assert results[0]["digest"] == hashlib.sha256(b"hello").hexdigest()


async def test_a_server_that_is_too_old_is_named_so() -> None:
    far = FarEnd(("acks", "exec"))
    async with page_of(far.serve) as page:
        result = await page.run()
    assert "does not know over, channels" in result["refused"]
