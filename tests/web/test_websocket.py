"""A browser's WebSocket, over a socket pair, with websockets' sans-IO client at the other end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side

from trioet.link.quick_stream import QuickStream
from trioet.web import websocket
from trioet.web.websocket import Gone, WebSocket
from waiting import until

MAX_MESSAGE = 1000


class Client:
    """The browser's end: says what a test wants, hears what comes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = Protocol(Side.CLIENT, max_size=None)
        self.frames: list[Frame] = []
        self._sending = trio.Lock()

    async def flush(self) -> None:
        async with self._sending:
            for data in self.protocol.data_to_send():
                await (self.stream.send_all(data) if data else self.stream.aclose())

    async def hear(self) -> Frame:
        """The next frame, answered as it has to be."""
        with trio.fail_after(20):
            while not self.frames:
                data = await self.stream.receive_some()
                if data:
                    self.protocol.receive_data(data)
                else:
                    self.protocol.receive_eof()
                self.frames += [each for each in self.protocol.events_received()
                                if isinstance(each, Frame)]  # fmt: skip
                await self.flush()
                assert self.frames or data, "the end, and nothing said"
        return self.frames.pop(0)

    async def hear_close(self) -> int:
        """The code of the close that comes; then the end of the connection, as browsers do."""
        while (await self.hear()).opcode is not Opcode.CLOSE:
            pass
        async with self._sending:
            await self.stream.aclose()
        assert self.protocol.close_rcvd is not None
        return self.protocol.close_rcvd.code


@asynccontextmanager
async def connected(unread: bytes = b"") -> AsyncIterator[tuple[WebSocket, Client]]:
    """Both ends, until the block ends."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    browser = WebSocket(QuickStream(ours), unread, MAX_MESSAGE)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    async with stream:
        try:
            with trio.fail_after(60):
                yield browser, Client(stream)
        finally:
            ours.close()


async def test_messages_go_both_ways() -> None:
    async with connected() as (browser, client):
        client.protocol.send_text("grüß dich".encode())
        client.protocol.send_binary(b"\xff\0")
        await client.flush()
        assert await browser.receive() == "grüß dich"
        assert await browser.receive() == b"\xff\0"
        await browser.send("text")
        await browser.send(bytearray(b"binary"))
        heard = await client.hear(), await client.hear()
        assert [(each.opcode, each.data) for each in heard] == [
            (Opcode.TEXT, b"text"),
            (Opcode.BINARY, b"binary"),
        ]


async def test_a_message_in_fragments_is_one_and_a_ping_between_them_is_answered() -> None:
    async with connected() as (browser, client):
        client.protocol.send_binary(b"one ", fin=False)
        client.protocol.send_ping(b"there?")
        client.protocol.send_continuation(b"mess", fin=False)
        client.protocol.send_continuation(b"age", fin=True)
        await client.flush()
        assert await browser.receive() == b"one message"
        pong = await client.hear()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"there?")


async def test_what_came_behind_the_request_is_not_lost() -> None:
    early = Protocol(Side.CLIENT)
    early.send_binary(b"early")
    early.send_ping(b"too")
    async with connected(b"".join(early.data_to_send())) as (browser, client):
        assert await browser.receive() == b"early"
        assert (await client.hear()).data == b"too"


@pytest.mark.parametrize(
    ("opcode", "data", "code"),
    [
        (Opcode.TEXT, b"\xff", CloseCode.INVALID_DATA),
        (Opcode.BINARY, bytes(MAX_MESSAGE + 1), CloseCode.MESSAGE_TOO_BIG),
        (Opcode.CONT, b"of nothing", CloseCode.PROTOCOL_ERROR),
    ],
)
async def test_what_may_not_be_said_is_named_by_a_close(
    opcode: Opcode, data: bytes, code: CloseCode
) -> None:
    async with connected() as (browser, client), trio.open_nursery() as nursery:
        client.protocol.send_frame(Frame(opcode, data))
        for _ in range(100):  # and goes on, so that a reset would lose the close
            client.protocol.send_binary(bytes(MAX_MESSAGE))
        nursery.start_soon(client.flush)
        with pytest.raises(Gone):
            await browser.receive()
        nursery.start_soon(browser.close, CloseCode.NORMAL_CLOSURE)
        assert await client.hear_close() == code


async def test_a_close_of_the_browser_is_answered_behind_what_it_said_before() -> None:
    async with connected() as (browser, client), trio.open_nursery() as nursery:
        client.protocol.send_binary(b"last")
        client.protocol.send_close(CloseCode.GOING_AWAY)
        await client.flush()
        assert await browser.receive() == b"last"
        with pytest.raises(Gone):
            await browser.receive()
        with pytest.raises(Gone):
            await browser.send(b"too late")
        nursery.start_soon(browser.close, CloseCode.NORMAL_CLOSURE)
        assert await client.hear_close() == CloseCode.GOING_AWAY


async def test_who_receives_hears_of_a_close_by_another_task_and_all_may_close() -> None:
    async with connected() as (browser, client):
        gone = []

        async def receive() -> None:
            with pytest.raises(Gone):
                await browser.receive()
            gone.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await browser.send(b"before")
            nursery.start_soon(browser.close, CloseCode.GOING_AWAY, "stopped")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(browser.close, CloseCode.NORMAL_CLOSURE)
            assert (await client.hear()).data == b"before"
            assert await client.hear_close() == CloseCode.GOING_AWAY
        assert gone


async def test_a_lost_connection_ends_it() -> None:
    async with connected() as (browser, client):
        await client.stream.aclose()
        with pytest.raises(Gone):
            await browser.receive()
        with pytest.raises(Gone):
            await browser.send(b"to nobody")


async def test_a_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.05)
    async with connected() as (browser, client):
        await browser.close(CloseCode.NORMAL_CLOSURE)
        with pytest.raises(Gone):
            await browser.receive()
        assert (await client.stream.receive_some())[0] & 0x0F == Opcode.CLOSE


async def test_a_send_that_is_cancelled_ends_the_connection() -> None:
    async with connected() as (browser, _client):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(browser.send, bytes(50_000_000))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        with pytest.raises(Gone):
            await browser.receive()


async def test_who_is_silent_is_asked_and_who_does_not_answer_is_given_up() -> None:
    async with connected() as (browser, client):
        gone = trio.Event()

        async def receive() -> None:
            with pytest.raises(Gone):
                await browser.receive()
            gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                await browser.ask_if_silent()
                assert (await client.hear()).opcode is Opcode.PING  # and is answered
                await trio.testing.wait_all_tasks_blocked()
                await browser.ask_if_silent()  # it has said something: nobody is asked
            await browser.ask_if_silent()
            await browser.ask_if_silent()
            await gone.wait()


async def test_nobody_is_given_up_to_whom_nobody_listens() -> None:
    async with connected() as (browser, client):
        for _ in range(3):
            await browser.ask_if_silent()
        client.protocol.send_binary(b"at last")
        await client.flush()
        assert await browser.receive() == b"at last"
        assert not client.frames


async def test_a_stuck_message_is_not_followed_by_questions() -> None:
    async with connected() as (browser, client), trio.open_nursery() as nursery:
        nursery.start_soon(browser.send, bytes(5_000_000))
        nursery.start_soon(browser.receive)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            await browser.ask_if_silent()
        assert len((await client.hear()).data) == 5_000_000
        client.protocol.send_binary(b"read")
        await client.flush()
        await until(lambda: not browser._reading.locked())
