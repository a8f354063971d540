"""Channels of a session, end to end: two real links, and real sockets for applications."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cancelling import settle
from descriptors import descriptors
from ends import (
    foreigner,
    pattern,
    place,
    receive_all,
    receive_exactly,
    reset,
    streams,
    two_ends,
)
from lines import Cable
from trioet.link.pace import MOST_CHUNK
from trioet.link.resumable import Role
from trioet.session import destinations
from trioet.session import forwards as forwards_module
from trioet.session.channel import FIRST_CREDIT, MOST_CREDIT
from trioet.session.forwards import EARLY, MAX_SAID_EARLY
from trioet.wire.channels import (
    ChannelCredit,
    ChannelData,
    ChannelEnd,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
)
from trioet.wire.forward import Address, UnixPath
from trioet.wire.reach import Failure
from waiting import until

SIDES = ("client", "server")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("et", [False, True], ids=["trioet", "et"])
async def test_bytes_go_both_ways(side: str, et: bool) -> None:
    async with two_ends(et=et) as ends, place() as there:
        near, far = await streams(ends, getattr(ends, side), there)
        async with near, far:
            await near.send_all(b"from here")
            await far.send_all(b"from there")
            assert await receive_exactly(far, 9) == b"from here"
            assert await receive_exactly(near, 10) == b"from there"


@pytest.mark.parametrize("side", SIDES)
async def test_each_direction_ends_by_itself(side: str) -> None:
    async with two_ends() as ends, place() as there:
        near, far = await streams(ends, getattr(ends, side), there)
        async with near, far:
            await near.send_all(b"question")
            await near.send_eof()
            assert await receive_all(far) == b"question"
            await wait_all_tasks_blocked()
            await far.send_all(b"answer")
            await far.send_eof()
            assert await receive_all(near) == b"answer"
        await until(lambda: "channels=0" in repr(ends.client.forwards))
        await until(lambda: "channels=0" in repr(ends.server.forwards))


@pytest.mark.parametrize("side", SIDES)
async def test_the_far_application_may_end_first(side: str) -> None:
    async with two_ends() as ends, place() as there:
        near, far = await streams(ends, getattr(ends, side), there)
        async with near, far:
            await far.send_eof()
            assert await receive_all(near) == b""
            await near.send_all(b"still here")
            assert await receive_exactly(far, 10) == b"still here"


@pytest.mark.parametrize("resets", ["near", "far"])
@pytest.mark.parametrize("side", SIDES)
async def test_a_reset_is_a_reset_at_the_other_end(side: str, resets: str) -> None:
    async with two_ends() as ends, place() as there:
        near, far = await streams(ends, getattr(ends, side), there)
        async with near, far:
            crashes, other = (near, far) if resets == "near" else (far, near)
            await crashes.send_all(b"last words")
            assert await receive_exactly(other, 10) == b"last words"
            reset(crashes)
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await other.receive_some(1)
        await until(lambda: "channels=0" in repr(ends.client.forwards))
        await until(lambda: "channels=0" in repr(ends.server.forwards))


async def test_in_ets_dialect_the_end_of_one_direction_is_the_end_of_both() -> None:
    async with two_ends(et=True) as ends, place() as there:
        near, far = await streams(ends, ends.client, there)
        async with near, far:
            await near.send_all(b"last words")
            await near.send_eof()
            assert await receive_all(far) == b"last words"
            assert await receive_all(near) == b""
        await until(lambda: "channels=0" in repr(ends.client.forwards))
        await until(lambda: "channels=0" in repr(ends.server.forwards))


@pytest.mark.parametrize("et", [False, True], ids=["trioet", "et"])
async def test_who_is_refused_sees_a_reset(et: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        where = Address(*gone.getsockname())
    async with two_ends(et=et) as ends:
        tunnel = await ends.client.tunnel(where)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await near.receive_some(1)


async def test_what_the_policy_does_not_admit_is_refused() -> None:
    async with two_ends() as ends, place() as there:
        ends.client.leads_to = lambda asked: None
        tunnel = await ends.server.tunnel(there.where)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await near.receive_some(1)


async def test_unix_sockets_at_both_sides(runtime_dir: Path) -> None:
    (listener,) = [socket.socket(socket.AF_UNIX)]
    with listener:
        listener.bind(str(runtime_dir / "there"))
        listener.listen()
        async with two_ends() as ends:
            await ends.client.tunnel(
                UnixPath(str(runtime_dir / "there")), UnixPath(str(runtime_dir / "here"))
            )
            async with await trio.open_unix_socket(str(runtime_dir / "here")) as near:
                await near.send_all(b"question")
                await near.send_eof()
                await until(lambda: ends.server.asked)
                await wait_all_tasks_blocked()
                connection, _ = listener.accept()
                sock = trio.socket.from_stdlib_socket(connection)
                async with trio.SocketStream(sock) as far:
                    assert await receive_all(far) == b"question"
                    await far.send_all(b"answer")
                assert await receive_all(near) == b"answer"


async def test_much_goes_through_unharmed_both_ways_at_once() -> None:
    up, down = pattern(6_000_000, 1), pattern(6_000_000, 2)
    async with two_ends() as ends, place() as there:
        near, far = await streams(ends, ends.client, there)
        async with near, far, trio.open_nursery() as nursery:
            got: dict[str, bytes] = {}

            async def send(stream: trio.SocketStream, data: bytes) -> None:
                await stream.send_all(data)
                await stream.send_eof()

            async def receive(name: str, stream: trio.SocketStream) -> None:
                got[name] = await receive_all(stream)

            nursery.start_soon(send, near, up)
            nursery.start_soon(send, far, down)
            nursery.start_soon(receive, "up", far)
            nursery.start_soon(receive, "down", near)
        assert got == {"up": up, "down": down}
        assert ends.server.traffic.received == len(up)
        assert ends.server.traffic.sent == len(down)


# Who does not read stalls nobody else


async def test_a_stalled_application_stalls_its_own_channel_alone() -> None:
    async with two_ends() as ends, place() as there:
        stalled, stalled_far = await streams(ends, ends.client, there)
        near, far = await streams(ends, ends.client, there)
        async with stalled, stalled_far, near, far, trio.open_nursery() as nursery:
            data = pattern(12_000_000)
            nursery.start_soon(stalled.send_all, data)
            await wait_all_tasks_blocked(0.05)

            other = pattern(3_000_000, 7)
            nursery.start_soon(near.send_all, other)
            assert await receive_exactly(far, len(other)) == other
            ends.client.type(b"typed meanwhile")
            await until(lambda: ends.server.typed)
            held = [channel.unread for channel in ends.server.forwards.streams]
            assert 0 < max(held) <= MOST_CREDIT

            assert await receive_exactly(stalled_far, len(data)) == data


async def test_a_channel_that_never_was_read_holds_its_first_credit_at_most() -> None:
    async with two_ends() as ends, place() as there:
        near, far = await streams(ends, ends.client, there)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with near, far:
            with trio.move_on_after(0.3):
                await near.send_all(bytes(50_000_000))
            (channel,) = ends.server.forwards.streams
            assert FIRST_CREDIT // 2 < channel.unread <= MOST_CREDIT


async def test_what_is_typed_waits_for_one_packet_of_bulk_at_most() -> None:
    """All else that goes before it has been in the network's hands already."""
    cable = Cable(200_000)
    async with two_ends(cable=cable) as ends, place() as there, AsyncExitStack() as opened:
        for _ in range(8):
            near, far = await streams(ends, ends.client, there)
            await opened.enter_async_context(near)
            await opened.enter_async_context(far)
            ends.nursery.start_soon(_flood, near)
            ends.nursery.start_soon(_swallow, far)
        await until(lambda: ends.server.traffic.received > 3_000_000)
        cable.stall()
        await wait_all_tasks_blocked(0.02)
        assert ends.client.link.in_flight > 0
        assert not ends.client.link._room.has_bulk_room()

        ends.server.bulk = 0
        ends.client.type(b"a key")
        cable.stall(False)
        await until(lambda: ends.server.typed)
        assert 0 < ends.server.bulk <= 200_000 + MOST_CHUNK
        ends.nursery.cancel_scope.cancel()


async def _flood(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            await stream.send_all(bytes(100_000))


async def _swallow(stream: trio.SocketStream) -> None:
    with suppress(trio.ClosedResourceError):
        await receive_all(stream)


async def test_while_anybody_waits_with_keystrokes_no_bulk_goes() -> None:
    cable = Cable(4 << 20)
    async with two_ends(cable=cable) as ends:
        link = ends.client.link
        cable.stall()
        while link.has_room():
            ends.client.type(bytes(16_000))
        assert link._room.has_bulk_room(), "the network takes it"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.wait_room)
            await wait_all_tasks_blocked()
            assert not link._room.has_bulk_room()
            nursery.cancel_scope.cancel()
        assert link._room.has_bulk_room()


async def test_channels_take_turns() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        numbers = [1, 3, 5, 7]
        size = 200_000
        async with AsyncExitStack() as opened:
            for number in numbers:
                peer.say(ChannelOpen(number, 0, there.where, 0))
                far = await opened.enter_async_context(await there.accept())
                peer.end.nursery.start_soon(far.send_all, bytes(size))
            await until(lambda: len(peer.heard) == len(numbers))
            for number in numbers:
                peer.say(ChannelCredit(number, size))
            await until(lambda: sum(len(peer.data(number)) for number in numbers) == 4 * size)
        order = [said.channel for said in peer.heard if isinstance(said, ChannelData)]
        shares = [order[: len(order) // 2].count(number) for number in numbers]
        assert max(shares) - min(shares) <= 1


# What is said before the answer


async def test_a_request_does_not_wait_for_the_destination() -> None:
    async with foreigner(Role.CLIENT) as peer:
        tunnel = await peer.end.tunnel(Address("db", 5432))
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            await near.send_all(bytes(2 * EARLY))
            await until(lambda: len(peer.data(1)) == EARLY)
            await settle()
            assert len(peer.data(1)) == EARLY
            peer.say(ChannelOpened(1, 100))
            await until(lambda: len(peer.data(1)) == EARLY + 100)
            peer.say(ChannelData(1, b"answer"))
            assert await near.receive_some(6) == b"answer"


async def test_what_was_said_early_is_lost_with_the_connection() -> None:
    async with foreigner(Role.CLIENT) as peer:
        tunnel = await peer.end.tunnel(Address("db", 5432))
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as near:
            await near.send_all(b"GET /")
            await until(lambda: peer.data(1) == b"GET /")
            peer.say(ChannelRefused(1, Failure.REFUSED, "connection refused"))
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some(1)
        await settle()
        assert not [said for said in peer.of(1) if isinstance(said, ChannelReset)]


async def test_an_application_that_is_gone_before_the_answer_is_told_of() -> None:
    async with foreigner(Role.CLIENT) as peer:
        tunnel = await peer.end.tunnel(Address("db", 5432))
        near = await trio.open_tcp_stream("127.0.0.1", tunnel.port)
        await until(lambda: peer.of(1))
        reset(near)
        await until(lambda: ChannelReset(1) in peer.heard)
        peer.say(ChannelOpened(1, 100))
        peer.say(ChannelData(1, b"too late"))
        await settle()
        assert peer.complaints == []


async def test_what_comes_with_the_question_reaches_the_destination_first() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        with peer.link.together():
            peer.say(ChannelOpen(1, 0, there.where, 1000))
            peer.say(ChannelData(1, b"GET "))
            peer.say(ChannelData(1, b"/"))
            peer.say(ChannelEnd(1))
        async with await there.accept() as far:
            assert b"".join([data async for data in far]) == b"GET /"
            await far.send_all(b"answer")
        await until(lambda: peer.data(1) == b"answer")


@pytest.mark.parametrize("words", [[bytes(EARLY), b"x"], [b"x"] * (MAX_SAID_EARLY + 1)])
async def test_too_much_before_the_answer_is_refused(words: list[bytes]) -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        with peer.link.together():
            peer.say(ChannelOpen(1, 0, there.where, 1000))
            for word in words:
                peer.say(ChannelData(1, word))
        await until(lambda: peer.of(1))
        await settle()
        (refusal,) = peer.of(1)
        assert isinstance(refusal, ChannelRefused)
        assert peer.complaints == []


# The other side does not keep to it


async def test_who_sends_more_than_its_credit_loses_that_channel() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        peer.say(ChannelOpen(1, 0, there.where, FIRST_CREDIT))
        peer.say(ChannelOpen(3, 0, there.where, FIRST_CREDIT))
        async with await there.accept() as first, await there.accept() as second:
            await until(lambda: len(peer.heard) == 2)
            for _ in range(200):
                peer.say(ChannelData(1, bytes(64 * 1024)))
            await until(lambda: ChannelReset(1) in peer.heard)
            peer.say(ChannelData(3, b"good"))
            streams = {first, second}
            done = False
            for stream in streams:
                with trio.move_on_after(1):
                    with suppress(trio.BrokenResourceError):
                        done = done or await stream.receive_some(4) == b"good"
            assert done
        assert peer.complaints == []


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
async def test_numbers_that_the_peer_may_not_choose_are_refused(role: Role) -> None:
    async with foreigner(role) as peer, place() as there:
        ours = 1 if role is Role.CLIENT else 2
        for number in (ours, 0 if role is Role.CLIENT else 2, 2**64 - 2 + (ours & 1)):
            peer.say(ChannelOpen(number, 0, there.where, 100))
            await until(partial(peer.of, number))
            (answer,) = peer.of(number)
            assert isinstance(answer, ChannelRefused)
            assert answer.why is Failure.GENERAL
            peer.heard.clear()


async def test_a_number_that_is_in_use_is_refused() -> None:
    async with foreigner(Role.SERVER) as peer, place() as there:
        peer.say(ChannelOpen(1, 0, there.where, 100))
        peer.say(ChannelOpen(1, 0, there.where, 100))
        await until(lambda: len(peer.of(1)) == 2)
        peer.say(ChannelOpen(1, 0, there.where, 100))
        await until(lambda: len(peer.of(1)) == 3)
        assert [type(each) for each in peer.of(1)].count(ChannelRefused) == 2
        assert ChannelOpened(1, FIRST_CREDIT - EARLY) in peer.of(1)


async def test_words_about_channels_that_are_not_there_are_passed_over() -> None:
    async with foreigner(Role.SERVER) as peer:
        for message in (
            ChannelData(9, b"x"),
            ChannelCredit(9, 100),
            ChannelEnd(9),
            ChannelReset(9),
            ChannelRefused(2, Failure.REFUSED, ""),
            ChannelCredit(0, 7),
        ):
            peer.say(message)
        await until(lambda: peer.end.granted == 7)
        assert peer.heard == []
        assert peer.complaints == []


async def test_an_answer_that_nobody_waits_for_is_reset() -> None:
    async with foreigner(Role.SERVER) as peer:
        peer.say(ChannelOpened(2, 100))
        await until(lambda: peer.heard)
        assert peer.heard == [ChannelReset(2)]


async def test_no_more_channels_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards_module, "MAX_CHANNELS", 3)
    async with foreigner(Role.SERVER) as peer, place() as there:
        for number in (1, 3, 5, 7):
            peer.say(ChannelOpen(number, 0, there.where, 100))
        await until(lambda: len(peer.heard) == 4)
        assert peer.of(7) == [ChannelRefused(7, Failure.GENERAL, "too many connections")]
        peer.say(ChannelReset(3))
        await until(lambda: not peer.end.forwards.full)
        peer.say(ChannelOpen(9, 0, there.where, 100))
        await until(lambda: peer.of(9))
        assert peer.of(9) == [ChannelOpened(9, FIRST_CREDIT - EARLY)]


async def test_who_connects_when_there_are_enough_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards_module, "MAX_CHANNELS", 1)
    async with foreigner(Role.CLIENT) as peer, place() as there:
        tunnel = await peer.end.tunnel(there.where)
        async with await trio.open_tcp_stream("127.0.0.1", tunnel.port):
            await until(lambda: peer.heard)
            async with await trio.open_tcp_stream("127.0.0.1", tunnel.port):
                await wait_all_tasks_blocked(0.02)
                (first,) = peer.heard
                assert isinstance(first, ChannelOpen)
                peer.say(ChannelRefused(first.channel, Failure.REFUSED, "nobody is there"))
                await until(lambda: len(peer.heard) == 2)
                assert isinstance(peer.heard[1], ChannelOpen)


async def test_connections_are_made_a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards_module, "MAX_CONNECTING", 2)
    begun: list[object] = []
    go_on = trio.Event()

    async def connect(where: Address) -> socket.socket:
        begun.append(where)
        await go_on.wait()
        return await real(where)

    real = destinations.connect
    monkeypatch.setattr(forwards_module, "connect", connect)
    async with foreigner(Role.SERVER) as peer, place() as there:
        for number in (1, 3, 5, 7):
            peer.say(ChannelOpen(number, 0, there.where, 100))
            await wait_all_tasks_blocked()
        assert len(begun) == 2
        peer.say(ChannelReset(7))  # while it waits for its turn
        peer.say(ChannelReset(1))  # while it connects
        await until(lambda: len(begun) == 3)
        go_on.set()
        await until(lambda: peer.of(3) and peer.of(5))
        assert peer.of(1) == peer.of(7) == []


async def test_an_endpoint_of_any_bytes_is_refused_in_words(runtime_dir: Path) -> None:
    async with foreigner(Role.SERVER) as peer:
        asked = [
            ChannelOpen(1, 0, UnixPath("/caf\udce9"), 1, datagrams=True),
            ChannelOpen(3, 0, UnixPath("/" + "x" * 300), 1),
            ChannelOpen(5, 0, UnixPath("/\0"), 1),
            ChannelOpen(7, 0, Address("caf\udce9", 80), 1),
            ChannelOpen(9, 0, Address("", 80), 1),
            ChannelOpen(11, 0, Address("a\0b", 80), 1),
            ChannelOpen(13, 0, Address("x" * 70 + ".example", 80), 1),
            ChannelOpen(15, 0, Address("300.300.300.300", 80), 1, datagrams=True),
        ]
        for each in asked:
            peer.say(each)
        await until(lambda: len(peer.heard) == len(asked))
        assert {type(each) for each in peer.heard} == {ChannelRefused}
        assert peer.complaints == []
