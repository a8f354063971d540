from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_two_way_stream

from descriptors import descriptors
from scon_ends import Cutter, Ends, reset_at_close, serving
from trioet.errors import StepFailed
from trioet.scon.opening import open_scon_stream
from trioet.scon.policy import Policy, Secure
from trioet.scon.server import Ended
from trioet.scon.stream import SconStream
from trioet.wire.scon_handshake import frame
from waiting import until

SECURE = [Secure.OFF, Secure.REQUIRED]
LONG = 60.0


@asynccontextmanager
async def cut_between(ends: Ends) -> AsyncIterator[Cutter]:
    """A proxy in front of the server."""
    cutter = Cutter(ends.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(cutter.run)
        yield cutter
        nursery.cancel_scope.cancel()


async def exchange(stream: SconStream, data: bytes) -> bytes:
    """Send all of it to an echo, and return as much."""
    got = bytearray()

    async def send() -> None:
        await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(got) < len(data):
            part = await stream.receive_some()
            assert part, "it ended too soon"
            got += part
    return bytes(got)


@pytest.mark.parametrize("secure", SECURE)
async def test_bytes_go_to_the_backend_and_back(secure: Secure) -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            async with open_scon_stream("127.0.0.1", ends.port, "game", secure=secure) as stream:
                assert await exchange(stream, b"hello") == b"hello"
                assert stream.link.sealed is (secure is Secure.REQUIRED)
                assert [call.target for call in ends.calls] == [b"game"]
            await until(lambda: secure is Secure.OFF or not ends.server.sessions)


@pytest.mark.parametrize("secure", SECURE)
@pytest.mark.parametrize("seed", range(3))
async def test_every_byte_arrives_once_and_in_order_however_often_the_line_is_cut(
    secure: Secure, seed: int
) -> None:
    dice = random.Random(seed)
    data = dice.randbytes(3_000_000)
    with trio.fail_after(LONG):
        async with serving() as ends, cut_between(ends) as cutter:

            def cut_after() -> tuple[int, int] | None:
                if cutter.connections > 15:
                    return None
                return dice.randrange(1, 700_000), dice.randrange(1, 700_000)

            cutter.cut_after = cut_after
            async with open_scon_stream("127.0.0.1", cutter.port, secure=secure) as stream:
                assert await exchange(stream, data) == data
                assert stream.link.resumes > 1


@pytest.mark.parametrize("secure", SECURE)
async def test_a_download_that_breaks_again_and_again_is_resumed_every_time(secure: Secure) -> None:
    """Real goscon answers 406 to every one of these (description of goscon, 6.1)."""
    data = random.Random(1).randbytes(8_000_000)

    async def upload(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await stream.send_all(data)
        await stream.receive_some(1)
        await stream.aclose()

    with trio.fail_after(LONG):
        async with (
            serving(upload) as ends,
            cut_between(ends) as cutter,
            open_scon_stream("127.0.0.1", cutter.port, secure=secure) as stream,
        ):
            await stream.send_all(b"?")
            got, cuts = bytearray(), 0
            while len(got) < len(data):
                got += await stream.receive_some()
                if len(got) > (cuts + 1) * 700_000:
                    cuts += 1
                    cutter.cut()
            assert got == data
            assert stream.link.resumes >= 10
            assert ends.server.counters.handshake_errors == {}


async def test_a_sealed_session_is_a_half_closeable_stream() -> None:
    with trio.fail_after(LONG):
        async with AsyncExitStack() as stack:
            send, receive = trio.open_memory_channel[trio.SocketStream](1)

            async def hand_over(stream: trio.SocketStream) -> None:
                await send.send(stream)
                await trio.sleep_forever()

            ends = await stack.enter_async_context(serving(hand_over))

            async def make() -> tuple[SconStream, trio.SocketStream]:
                stream = await stack.enter_async_context(
                    open_scon_stream(
                        "127.0.0.1", ends.port, secure=Secure.REQUIRED, close_timeout=0.5
                    )
                )
                return stream, await receive.receive()

            await check_half_closeable_stream(make, None)


async def test_goscons_own_form_is_a_two_way_stream() -> None:
    with trio.fail_after(LONG):
        async with AsyncExitStack() as stack:
            send, receive = trio.open_memory_channel[trio.SocketStream](1)

            async def hand_over(stream: trio.SocketStream) -> None:
                await send.send(stream)
                await trio.sleep_forever()

            ends = await stack.enter_async_context(serving(hand_over, Policy(reuse_time=0.2)))

            async def make() -> tuple[SconStream, trio.SocketStream]:
                stream = await stack.enter_async_context(
                    open_scon_stream("127.0.0.1", ends.port, secure=Secure.OFF, close_timeout=0.5)
                )
                return stream, await receive.receive()

            await check_two_way_stream(make, None)


@pytest.mark.parametrize("secure", SECURE)
async def test_the_end_of_the_backend_is_the_end_of_the_stream(secure: Secure) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"goodbye")

    with trio.fail_after(LONG):
        async with (
            serving(greet) as ends,
            open_scon_stream("127.0.0.1", ends.port, secure=secure) as stream,
        ):
            got = b""
            while part := await stream.receive_some():
                got += part
            assert got == b"goodbye"


async def test_the_last_bytes_of_a_backend_that_has_gone_are_not_lost_with_the_line() -> None:
    """goscon forgets the session with its backend; who lacked something has lost it."""
    data = random.Random(2).randbytes(1_000_000)

    async def say_all(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(data)

    with trio.fail_after(LONG):
        async with serving(say_all) as ends, cut_between(ends) as cutter:
            lines = iter([(10_000, 900_000)])
            cutter.cut_after = lambda: next(lines, None)
            async with open_scon_stream("127.0.0.1", cutter.port, secure=Secure.OFF) as stream:
                got = b""
                while part := await stream.receive_some():
                    got += part
                assert got == data
                assert stream.link.resumes >= 1


async def test_a_backend_that_breaks_is_not_taken_for_one_that_ends() -> None:
    async def break_off(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        reset_at_close(stream)
        await trio.aclose_forcefully(stream)

    with trio.fail_after(LONG):
        async with (
            serving(break_off) as ends,
            open_scon_stream("127.0.0.1", ends.port, secure=Secure.REQUIRED) as stream,
        ):
            await stream.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError, match="the backend is gone"):
                await stream.receive_some()


@pytest.mark.parametrize("secure", SECURE)
async def test_aclose_delivers(secure: Secure) -> None:
    got = bytearray()
    ended = trio.Event()

    async def keep(stream: trio.SocketStream) -> None:
        async for data in stream:
            got.extend(data)
            if len(got) == 2_000_000:
                ended.set()

    with trio.fail_after(LONG):
        async with serving(keep) as ends:
            async with open_scon_stream("127.0.0.1", ends.port, secure=secure) as stream:
                await stream.send_all(bytes(2_000_000))
            await ended.wait()


async def test_a_stream_that_is_cancelled_leaves_nothing_open() -> None:
    before = descriptors()
    with trio.fail_after(LONG):
        async with serving() as ends:
            with trio.move_on_after(0.2):
                async with open_scon_stream("127.0.0.1", ends.port) as stream:
                    await exchange(stream, b"hello")
                    await trio.sleep_forever()
    del ends, stream
    assert descriptors() == before


async def test_nobody_there_is_told_with_what_to_do(free_tcp_port: int) -> None:
    with pytest.raises(StepFailed, match=r"(?s)connection refused.*is a goscon"):
        async with open_scon_stream("127.0.0.1", free_tcp_port):
            pass


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"secure": Secure.REQUIRED}, {"secure": Secure.OFF}, "offers no sealed sessions"),
        ({"secure": Secure.OFF}, {"secure": Secure.REQUIRED}, "not the answer"),
        ({"psk": b"one" * 6}, {"psk": b"two" * 6}, "another pre-shared key"),
        ({"psk": b"one" * 6}, {}, "another pre-shared key"),
    ],
)
async def test_ends_that_do_not_agree_on_security_say_so(
    ours: dict[str, object], theirs: dict[str, object], words: str
) -> None:
    policy = Policy(**theirs)  # type: ignore[arg-type]
    with trio.fail_after(LONG):
        async with serving(policy=policy) as ends:
            with pytest.raises(StepFailed, match=words):
                async with open_scon_stream("127.0.0.1", ends.port, **ours):  # type: ignore[arg-type]
                    pass
            strangers = theirs.get("secure") is not Secure.OFF
            assert not (strangers and ends.calls), "no backend is dialled for a stranger"


async def test_the_same_key_on_both_sides_opens() -> None:
    policy = Policy(psk=b"the same on both", secure=Secure.REQUIRED)
    with trio.fail_after(LONG):
        async with (
            serving(policy=policy) as ends,
            open_scon_stream("127.0.0.1", ends.port, psk=b"the same on both") as stream,
        ):
            assert await exchange(stream, b"hello") == b"hello"


@pytest.mark.parametrize("secure", SECURE)
async def test_a_session_that_the_server_has_forgotten_is_lost_and_says_so(secure: Secure) -> None:
    with trio.fail_after(LONG):
        async with (
            serving() as ends,
            cut_between(ends) as cutter,
            open_scon_stream("127.0.0.1", cutter.port, secure=secure) as stream,
        ):
            await exchange(stream, b"hello")
            (session,) = ends.server.sessions.values()
            cutter.cut()
            session.finish(Ended.KICKED)
            with pytest.raises(trio.BrokenResourceError, match="session"):
                await stream.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")


async def test_what_is_changed_on_the_way_costs_a_connection_and_is_never_believed() -> None:
    """In goscon's own form it would be (docs/scon.md)."""
    data = random.Random(3).randbytes(1_000_000)

    def flip(connection: int, words: bytes) -> bytes:
        if connection > 5 or len(words) < 1000:
            return words
        return words[:500] + bytes([words[500] ^ 4]) + words[501:]

    with trio.fail_after(LONG):
        async with serving() as ends, cut_between(ends) as cutter:
            cutter.change = flip
            async with open_scon_stream("127.0.0.1", cutter.port, secure=Secure.REQUIRED) as stream:
                assert await exchange(stream, data) == data
                assert stream.link.resumes == 5


async def test_a_refusal_that_somebody_forged_ends_no_sealed_session() -> None:
    def deny(connection: int, words: bytes) -> bytes:
        return frame(b"0\n404") if connection in (2, 3) else words

    with trio.fail_after(LONG):
        async with serving() as ends, cut_between(ends) as cutter:
            cutter.change = deny
            async with open_scon_stream("127.0.0.1", cutter.port, secure=Secure.REQUIRED) as stream:
                await exchange(stream, b"before")
                cutter.cut()
                assert await exchange(stream, b"after") == b"after"
                assert stream.link.resumes == 1


async def test_an_answer_of_who_does_not_hold_the_session_is_not_believed() -> None:
    def resume_wrongly(connection: int, words: bytes) -> bytes:
        return frame(b"0\n200") if connection == 2 else words

    with trio.fail_after(LONG):
        async with serving() as ends, cut_between(ends) as cutter:
            cutter.change = resume_wrongly
            async with open_scon_stream("127.0.0.1", cutter.port, secure=Secure.REQUIRED) as stream:
                await exchange(stream, b"before")
                cutter.cut()
                assert await exchange(stream, b"after") == b"after"
                assert stream.link.resumes == 1
