"""The door, with real sockets: what a stranger can send, and what comes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from trioet.link import accepting as accepting_module
from trioet.link.accepting import (
    MAX_WAITING_PER_SOURCE,
    PENALISED_PATIENCE_S,
    PENALISED_WAITING,
)
from trioet.link.door import DEADLINE_S, PARK_S, Arrival, Door, Verdict
from trioet.link.refusals import FREE
from trioet.wire.framing import HANDSHAKE_LENGTH
from trioet.wire.handshake import Handshake, connect_request_frame
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus
from waiting import until

ID = b"1234567890123456"
SO_BUF_LOCK = 72
HELLO = connect_request_frame(ConnectRequest(ID))


class House:
    """A door, and who came in."""

    def __init__(self) -> None:
        self.verdict = Verdict.UNKNOWN
        self.asked: list[socket.socket] = []
        self.arrivals: list[Arrival] = []
        self.door = Door(self.deliver)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        assert client_id == ID
        self.asked.append(arrival[0])
        if self.verdict is Verdict.DELIVERED:
            self.arrivals.append(arrival)
        return self.verdict

    async def knock(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.door.serve, made.listener)
        yield made
        nursery.cancel_scope.cancel()
    for sock, _ in made.arrivals:
        sock.close()


async def answer_to(house: House, data: bytes) -> list[object]:
    """Send; return what comes back, decoded, up to the end of the connection."""
    async with await house.knock() as stream:
        await stream.send_all(data)
        handshake, events = Handshake.client(), []
        with trio.fail_after(5):
            try:
                async for received in stream:
                    events += handshake.feed(bytes(received))
            except trio.BrokenResourceError:
                pass
        return list(events)


async def test_an_unknown_id_is_told_so_in_ets_words(house: House) -> None:
    assert await answer_to(house, HELLO) == [
        ConnectResponse(ConnectStatus.INVALID_KEY, b"Client is not registered")
    ]


@pytest.mark.parametrize("version", [0, 5, 7])
async def test_another_version_is_told_so_in_ets_words(house: House, version: int) -> None:
    hello = connect_request_frame(ConnectRequest(ID, version))
    (response,) = await answer_to(house, hello)
    assert response == ConnectResponse(
        ConnectStatus.MISMATCHED_PROTOCOL,
        b"Mismatched protocol versions.  Your client & server must be on the same version of ET."
        b"  Client: %d != Server: 6" % version,
    )


@pytest.mark.parametrize(
    "garbage",
    [
        HANDSHAKE_LENGTH.pack(-1),
        HANDSHAKE_LENGTH.pack(4097),
        HANDSHAKE_LENGTH.pack(128 * 2**20),
        HANDSHAKE_LENGTH.pack(3) + b"\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_garbage_is_answered_by_a_closed_connection(house: House, garbage: bytes) -> None:
    assert await answer_to(house, garbage) == []
    assert house.door.refusals.count == 1


async def test_a_known_id_is_handed_on_with_every_byte_read(house: House) -> None:
    house.verdict = Verdict.DELIVERED
    async with await house.knock() as stream:
        await stream.send_all(HELLO[:5])
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(HELLO[5:] + b"and more")
        await until(lambda: house.arrivals)
        sock, preface = house.arrivals[0]
        rest = b"" if preface.endswith(b"more") else sock.recv(100)
        assert preface + rest == HELLO + b"and more"


async def test_a_dribbling_stranger_is_cut_off_in_time(
    house: House, autojump_clock: MockClock
) -> None:
    begun = trio.current_time()
    async with await house.knock() as stream:
        for number in range(len(HELLO)):
            try:
                await stream.send_all(HELLO[number : number + 1])
            except trio.BrokenResourceError:
                break
            await trio.sleep(1)
    assert house.door.refusals.count == 1
    assert trio.current_time() - begun <= DEADLINE_S + 2


async def test_one_source_cannot_fill_the_door(house: House) -> None:
    streams = [await house.knock() for _ in range(MAX_WAITING_PER_SOURCE + 10)]
    await until(lambda: house.door.accepted == len(streams))
    with trio.fail_after(5):
        assert await streams[0].receive_some() == b""
    assert (await answer_to(house, HELLO))[0] is not None
    for stream in streams:
        await stream.aclose()


async def test_who_was_refused_often_gets_little_room_and_time(
    house: House, autojump_clock: MockClock
) -> None:
    for _ in range(round(FREE) + 2):
        await answer_to(house, HANDSHAKE_LENGTH.pack(-1))
    streams = [await house.knock() for _ in range(PENALISED_WAITING + 1)]
    await until(lambda: house.door.accepted == FREE + 2 + len(streams))
    await until(lambda: f"waiting={PENALISED_WAITING}" in repr(house.door))
    begun = trio.current_time()
    assert await streams[-1].receive_some() == b""
    assert trio.current_time() - begun <= PENALISED_PATIENCE_S
    assert (await answer_to(house, HELLO))[0] is not None, "and still it is not shut out"
    for stream in streams:
        await stream.aclose()


async def test_little_is_held_for_who_waits(house: House) -> None:
    """A parked client may send, but not much of it is kept."""
    house.verdict = Verdict.LATER
    async with await house.knock() as stream:
        await stream.send_all(HELLO)
        await until(lambda: house.asked)
        await trio.testing.wait_all_tasks_blocked()
        assert house.asked[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 64 * 1024
        house.verdict = Verdict.DELIVERED
        house.door.registrations_changed()
        await until(lambda: house.arrivals)
        assert house.arrivals[0][0].getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == 0


async def test_a_full_door_lets_the_oldest_go(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting_module, "MAX_WAITING", 3)
    streams = [await house.knock() for _ in range(4)]
    with trio.fail_after(5):
        assert await streams[0].receive_some() == b""
    for stream in streams:
        await stream.aclose()


async def test_who_comes_before_his_keeper_waits_for_it(house: House) -> None:
    house.verdict = Verdict.LATER
    async with await house.knock() as stream:
        await stream.send_all(HELLO)
        await trio.testing.wait_all_tasks_blocked(0.05)
        house.verdict = Verdict.DELIVERED
        house.door.registrations_changed()
        await until(lambda: house.arrivals)


async def test_who_waits_too_long_is_sent_away_without_a_verdict(
    house: House, autojump_clock: MockClock
) -> None:
    """Any status would end the session, or be shown to its user; a close means "again"."""
    house.verdict = Verdict.LATER
    begun = trio.current_time()
    async with await house.knock() as stream:
        await stream.send_all(HELLO)
        assert await stream.receive_some() == b""
    assert trio.current_time() - begun >= PARK_S


async def test_closing_the_door_lets_those_inside_finish(house: House) -> None:
    scope = trio.CancelScope()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.door.serve, listener, scope)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(HELLO[:3])
        await until(lambda: "waiting=1" in repr(house.door))
        scope.cancel()
        await stream.send_all(HELLO[3:])
        assert await stream.receive_some()
        await stream.aclose()
        await house.door.wait_empty()
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", port)
