"""Who is let in, who is not and is told so, and whom the rest harms: nobody."""

from __future__ import annotations

import logging
from unittest.mock import patch

import pytest
import trio

from descriptors import descriptors
from eternals import PSK, echo, net, refusal
from trioet import EternalStream, open_eternal_stream, serve_eternal
from trioet.eternal import opening, serving
from trioet.wire.agreement import KeyPair, PreSharedKey
from trioet.wire.handshake import connect_request_frame
from trioet.wire.introduction import IntroductionOfClient
from trioet.wire.messages import ConnectRequest, ConnectResponse
from waiting import until


async def test_who_has_another_key_is_told_so_at_once() -> None:
    handled: list[EternalStream] = []

    async def handle(stream: EternalStream) -> None:
        handled.append(stream)

    async with net(handle) as made:
        with trio.fail_after(5):
            told = await refusal(made.port, psk=b"another secret of both")

        assert told.what == f"127.0.0.1 port {made.port}: this server has another pre-shared key"
        assert "the same key" in told.hint
        assert told.step == "introduction"
        assert made.server.statistics().sessions == 0
    assert not handled


async def test_no_server_is_told_with_what_to_do() -> None:
    async with net(echo) as made:
        port = made.server.port
    with patch.object(opening, "patience_at_first", lambda _: 0.0):
        told = await refusal(port, psk=PSK)

    assert told.what == f"cannot connect to 127.0.0.1 port {port}: connection refused"
    assert "firewall" in told.hint


async def test_a_server_that_comes_a_moment_later_is_waited_for() -> None:
    async with net(echo) as made:
        made.cutter.refuse = True

        async def allow() -> None:
            await until(lambda: made.cutter.attempts >= 2)
            made.cutter.refuse = False

        made.nursery.start_soon(allow)
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"


async def test_a_crash_of_one_handler_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(stream: EternalStream) -> None:
        async for data in stream:
            if data == b"crash":
                raise ZeroDivisionError("by what came")
            await stream.send_all(data)

    async with (
        net(handle) as made,
        open_eternal_stream("127.0.0.1", made.port, psk=PSK) as one,
        open_eternal_stream("127.0.0.1", made.port, psk=PSK) as other,
    ):
        await one.send_all(b"crash")
        with pytest.raises(trio.BrokenResourceError, match="aborted"):
            await one.receive_some()
        await other.send_all(b"alive")
        assert await other.receive_some() == b"alive"

    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert "the handler of a stream from 127.0.0.1 failed" in record.message


class Stranger:
    """Who has recorded a client's introduction, and says it again."""

    def __init__(self) -> None:
        self.keys = KeyPair.fresh()
        self.honest = IntroductionOfClient(PreSharedKey(PSK), b"0123456789abcdef", self.keys)

    async def say_it(self, port: int) -> bytes | ConnectResponse | None:
        """What comes back: a passkey for who has the secret key, or a refusal."""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(self.honest.request)
            return IntroductionOfClientAgain(self.honest).feed(await stream.receive_some())


class IntroductionOfClientAgain:
    """The answer as the honest client would read it, each time anew."""

    def __init__(self, honest: IntroductionOfClient) -> None:
        self._honest = honest

    def feed(self, data: bytes | bytearray) -> bytes | ConnectResponse | None:
        self._honest._pending = b""
        return self._honest.feed(bytes(data))


async def test_a_replayed_introduction_gives_nothing() -> None:
    handled: list[EternalStream] = []

    async def handle(stream: EternalStream) -> None:
        handled.append(stream)

    stranger = Stranger()
    async with net(handle) as made:
        first = await stranger.say_it(made.server.port)
        again = await stranger.say_it(made.server.port)
        assert isinstance(first, bytes)
        assert isinstance(again, ConnectResponse)
        assert again.error == serving.KNOWN
    with patch.object(serving, "INTRODUCED_S", 0.01):
        async with net(handle) as made:
            second = await stranger.say_it(made.server.port)
            third: bytes | ConnectResponse | None = None
            with trio.fail_after(10):
                while not isinstance(third, bytes):
                    third = await stranger.say_it(made.server.port)

            # Another key each time: what was recorded of the first session opens nothing.
            assert isinstance(second, bytes)
            assert isinstance(third, bytes)
            assert len({first, second, third}) == 3
            assert made.server.statistics().opened == 0
    assert not handled


async def test_introductions_that_nobody_uses_do_not_pile_up() -> None:
    with patch.object(serving, "MAX_NEWCOMERS_PER_SOURCE", 3):
        async with net(echo) as made:
            held = []
            for number in range(10):
                introduction = IntroductionOfClient(PreSharedKey(PSK), b"%016d" % number)
                stream = await trio.open_tcp_stream("127.0.0.1", made.server.port)
                await stream.send_all(introduction.request)
                await stream.receive_some()
                held.append(stream)
            # Those that went first are closed.
            for stream in held[:7]:
                assert await stream.receive_some() == b""
            async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as honest:
                await honest.send_all(b"x")
                assert await honest.receive_some() == b"x"
            for stream in held:
                await stream.aclose()


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"max_sessions": 2}, "this server has as many sessions as it takes"),
        (
            {"max_sessions_per_source": 2},
            "this server has as many sessions from there as it takes",
        ),
    ],
)
async def test_more_sessions_than_allowed_are_told_so(limit: dict[str, int], told: str) -> None:
    async with net(echo, **limit) as made:
        async with (
            open_eternal_stream("127.0.0.1", made.port, psk=PSK) as one,
            open_eternal_stream("127.0.0.1", made.port, psk=PSK) as two,
        ):
            for stream in (one, two):
                await stream.send_all(b"x")
                await stream.receive_some()
            assert told in (await refusal(made.port, psk=PSK)).what
        await until(lambda: not made.server.statistics().sessions)
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as three:
            await three.send_all(b"x")
            await three.receive_some()


async def test_a_client_that_stays_away_is_given_up() -> None:
    ends: list[str] = []

    async def watch(stream: EternalStream) -> None:
        try:
            async for _ in stream:
                pass
        except trio.BrokenResourceError as error:
            ends.append(str(error))

    async with net(watch, abandoned_after=2.0) as made:
        with patch.object(opening, "DENIED_S", 0.0):
            async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
                await stream.send_all(b"x")
                await stream.wait_delivered()
                made.cutter.refuse = True
                made.cutter.cut()
                await until(lambda: ends)
                made.cutter.refuse = False
                # And is told when it comes again.
                with pytest.raises(trio.BrokenResourceError, match="does not know the session"):
                    await stream.receive_some()
        assert ends == ["the client has been away for 2 s"]
        assert made.server.statistics().sessions == 0


async def test_a_client_gives_up_when_it_was_told_to() -> None:
    async with (
        net(echo) as made,
        open_eternal_stream("127.0.0.1", made.port, psk=PSK, give_up_after=2.0) as stream,
    ):
        await stream.send_all(b"x")
        await stream.receive_some()
        made.cutter.refuse = True
        made.cutter.cut()
        await stream.send_all(b"lost")
        with pytest.raises(trio.BrokenResourceError, match="no connection for 2 s"):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="no connection for 2 s"):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError, match="no connection for 2 s"):
            await stream.wait_delivered()


async def test_cancelling_the_server_aborts_its_streams() -> None:
    async with trio.open_nursery() as nursery:
        async with net(echo) as made:
            stream, _ = (await nursery.start(hold, made.server.port)), None
            made.nursery.cancel_scope.cancel()
        with pytest.raises(trio.BrokenResourceError, match="aborted"):
            await stream.receive_some()
        nursery.cancel_scope.cancel()


async def hold(port: int, task_status: trio.TaskStatus[EternalStream]) -> None:
    async with open_eternal_stream("127.0.0.1", port, psk=PSK) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        task_status.started(stream)
        await trio.sleep_forever()


async def test_a_passkey_that_both_know_serves_once() -> None:
    passkeys = {b"0123456789abcdef": bytes(range(32))}
    how = {"client_id": b"0123456789abcdef", "passkey": bytes(range(32))}
    async with net(echo, psk=None, passkeys=passkeys) as made:
        async with open_eternal_stream("127.0.0.1", made.port, **how) as stream:  # type: ignore[arg-type]
            await stream.send_all(b"x")
            made.cutter.cut()
            assert await stream.receive_some() == b"x"
        assert not passkeys
        told = await refusal(made.port, **how)
        assert "Client is not registered" in told.what


async def test_who_knows_the_id_and_not_the_passkey_is_no_session() -> None:
    passkeys = {b"0123456789abcdef": bytes(range(32))}
    with patch.object(serving, "INTRODUCED_S", 0.05):
        async with net(echo, psk=None, passkeys=passkeys) as made:
            stream = await trio.open_tcp_stream("127.0.0.1", made.server.port)
            async with stream:
                await stream.send_all(connect_request_frame(ConnectRequest(b"0123456789abcdef")))
                while await stream.receive_some():
                    pass
            assert made.server.statistics().opened == 0
            # And who has it is not kept out by the other.
            async with open_eternal_stream(
                "127.0.0.1", made.port, client_id=b"0123456789abcdef", passkey=bytes(range(32))
            ) as honest:
                await honest.send_all(b"x")
                assert await honest.receive_some() == b"x"


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"psk": PSK, "passkey": bytes(32), "client_id": bytes(16)},
        {"psk": b"short"},
        {"psk": b""},
        {"passkey": bytes(31), "client_id": bytes(16)},
        {"passkey": bytes(32)},
    ],
)
async def test_keys_that_are_none_are_refused_here(how: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"give exactly one|pre-shared key|passkey has"):
        async with open_eternal_stream("127.0.0.1", 9, **how):  # type: ignore[arg-type]
            pass


async def test_a_server_for_nobody_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="who may come"):
        await serve_eternal(echo, 0)


async def test_a_session_takes_one_connection() -> None:
    async with net(echo) as made:
        for _ in range(3):
            async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
                await stream.send_all(b"x")
                await stream.receive_some()
        assert made.server.statistics().accepted == 3


async def test_nothing_stays_open() -> None:
    counts = []
    for _ in range(3):
        async with net(echo) as made:
            async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
                await stream.send_all(b"x")
                made.cutter.cut()
                await stream.receive_some()
            await refusal(made.port, psk=b"another secret of both")
        counts.append(descriptors())
    assert len(set(counts)) == 1
