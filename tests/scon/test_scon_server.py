"""The server as real clients see it: every answer as goscon's, or better where that is safe."""

from __future__ import annotations

import socket
from base64 import b64encode
from functools import partial

import pytest
import trio
from cryptography.exceptions import UnsupportedAlgorithm

from descriptors import descriptors
from scon_caller import Caller
from scon_ends import QUICK, dial_port, echo, listen, serving
from trioet.errors import UsageError
from trioet.link.accepting import MAX_WAITING_PER_SOURCE
from trioet.link.line import LineBroken
from trioet.link.refusals import FREE
from trioet.scon import server as scon_server
from trioet.scon.counters import Counters
from trioet.scon.directory import LAST_ID, OwnDirectory
from trioet.scon.opening import open_scon_stream
from trioet.scon.policy import Policy, Secure
from trioet.scon.server import Backend, Call, Ended, SconServer
from trioet.wire import scon_arc4
from trioet.wire.scon_handshake import FrameReader, frame
from trioet.wire.scon_kept import BLOCK
from waiting import until

LONG = 60.0


async def test_a_session_begins_and_its_target_and_flags_are_the_dialers() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin(b"test1", 3)
            await caller.say(b"hello")
            assert await caller.hear(5) == b"hello"
            (call,) = ends.calls
            assert (call.target, call.flags, call.hides_address) == (b"test1", 3, True)
            assert call.client == caller.stream.socket.getsockname()
            assert call.local == ("127.0.0.1", ends.port)


async def test_the_announcement_goes_before_what_the_client_says() -> None:
    async with serving(announcement=b"PROXY it is\r\n") as ends:
        with trio.fail_after(LONG):
            caller = ends.caller()
            await caller.begin()
            assert await caller.hear(13) == b"PROXY it is\r\n"
            await caller.say(b"hello")
            assert await caller.hear(5) == b"hello"


async def test_a_resume_replays_both_ways_and_frees_the_old_connection_at_once() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"0123456789")
            assert await caller.hear(4) == b"0123"
            old = caller.stream
            lost = caller.outward.seal(b"abc")
            assert await caller.resume(1, rest=lost) == b"10\n200"
            assert await caller.hear(9) == b"456789abc"
            caller.stream = old
            assert await caller.hears_end()
            assert ends.server.counters.resumes == 1
            assert ends.server.counters.resends.count == 1


async def test_indexes_count_upwards_with_gaps_and_only_what_is_granted_counts() -> None:
    """As recorded of the real one: transcripts/goscon/04."""
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            outcomes = [(1, b"200"), (1, b"403"), (0, b"403"), (-5, b"403"), (100, b"200"),
                        (50, b"403"), (101, b"200")]  # fmt: skip
            for index, code in outcomes:
                assert (await caller.resume(index)).partition(b"\n")[2] == code
            await caller.say(b"still there")
            assert await caller.hear(11) == b"still there"
            assert ends.server.counters.handshake_errors == {403: 4}


async def test_a_wrong_code_is_answered_and_changes_nothing() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            working = caller.stream
            assert await caller.resume(1, code=b"wrong!!!") == b"0\n401"
            assert await caller.resume(1, code=b"wrong!!!and more") == b"0\n401"
            assert await caller.hears_end()
            caller.stream = working
            await caller.say(b"unharmed")
            assert await caller.hear(8) == b"unharmed"
            assert await caller.resume(1) == b"8\n200"


async def test_what_was_never_sent_cannot_be_replayed_and_the_old_line_lives() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"x" * 100)
            await caller.hear(100)
            working = caller.stream
            for received in (101, 2**32 - 1):
                assert await caller.resume(1, received) == b"0\n406"
            caller.stream = working
            await caller.say(b"unharmed")
            assert await caller.hear(8) == b"unharmed"
            assert await caller.resume(1, 8) == b"108\n200"


async def test_a_session_nobody_knows() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            caller.session_id ^= 1
            assert await caller.resume(1) == b"0\n404"
            assert ends.server.counters.resume_fails == 1


@pytest.mark.parametrize(
    "text",
    [b"hello", b"1\n1\n0", b"0\nBQAAAAAAAAA=\nt\n", b"1\n1\n4294967296\nWPxO5ffKSaY=", b"00\nBQAA"],
)
async def test_what_is_malformed_is_answered(text: bytes) -> None:
    """goscon just closes (2.7)."""
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            assert await caller.ask(text) == b"0\n400"
            assert await caller.hears_end()
            assert ends.server.counters.handshake_errors == {400: 1}


@pytest.mark.parametrize("key", [bytes(8), (2**64 - 59).to_bytes(8, "little")])
async def test_keys_that_make_no_secret_begin_nothing(key: bytes) -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            text = b"0\n" + b64encode(key) + b"\ntest1\n0"
            assert await ends.caller().ask(text) == b"closed"
            assert not ends.server.sessions
            assert not ends.calls


async def test_an_http_client_is_sent_away_at_once() -> None:
    """goscon lets it wait for the time-out (6.5)."""
    with trio.fail_after(LONG):
        async with serving(policy=Policy(handshake_timeout=1000)) as ends:
            caller = ends.caller()
            caller.stream = await caller.connect()
            await caller.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            assert await caller.hears_end()


@pytest.mark.parametrize("said", [b"", b"\0", b"\0\x16" + b"0\n"])
async def test_who_says_nothing_whole_is_closed_in_time(said: bytes) -> None:
    with trio.fail_after(LONG):
        async with serving(policy=Policy(handshake_timeout=0.1)) as ends:
            caller = ends.caller()
            caller.stream = await caller.connect()
            await caller.stream.send_all(said or b"\0")
            assert await caller.hears_end()
            await until(lambda: ends.server.counters.handshake_errors == {501: 1})


async def test_who_floods_the_door_loses_its_own_oldest() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            first = await caller.connect()
            many = MAX_WAITING_PER_SOURCE + int(FREE)
            others = [await caller.connect() for _ in range(many)]
            caller.stream = first
            assert await caller.hears_end()
            assert not ends.server.refusals.penalised("127.0.0.1"), "it gave way, that is all"
            await caller.begin()
            for stream in others:
                await stream.aclose()


async def test_a_client_that_does_not_come_back_ends_its_session() -> None:
    with trio.fail_after(LONG):
        async with serving(policy=Policy(reuse_time=0.1)) as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"x")
            await caller.hear(1)
            await caller.stream.aclose()
            await until(lambda: not ends.server.sessions)
            assert await caller.resume(1) == b"0\n404"
            counters = ends.server.counters
            assert (counters.sessions, counters.sessions_waiting, counters.closes) == (0, 0, 1)
            assert counters.close_reasons == {"not_resumed": 1}
            assert ends.server.kept_bytes == 0


async def test_a_half_close_counts_as_a_break() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"hello")
            await caller.stream.send_eof()
            await until(lambda: ends.server.counters.sessions_waiting == 1)
            answer = await caller.resume(1)
            assert answer == b"5\n200"
            assert await caller.hear(5) == b"hello"
            await until(lambda: ends.server.counters.sessions_waiting == 0)


async def test_the_backends_end_is_the_clients_and_then_nobody_knows_the_session() -> None:
    """As recorded of the real one: transcripts/goscon/11."""

    async def goodbye(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"goodby")

    with trio.fail_after(LONG):
        async with serving(goodbye) as ends:
            caller = ends.caller()
            await caller.begin()
            assert await caller.hear(99) == b"goodby"
            assert await caller.resume(1) == b"0\n404"
            await until(lambda: not ends.server.sessions)
            assert ends.server.counters.close_reasons == {"backend_closed": 1}


async def test_who_lacks_the_backends_last_words_gets_them_within_the_time() -> None:
    async def goodbye(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"goodby")

    with trio.fail_after(LONG):
        async with serving(goodbye) as ends:
            caller = ends.caller()
            await caller.begin()
            assert await caller.hear(3) == b"goo"
            await caller.stream.aclose()
            assert await caller.resume(1) == b"0\n200"
            assert await caller.hear(99) == b"dby"


async def test_a_backend_that_cannot_be_reached_ends_the_session(free_tcp_port: int) -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            ends.server.dial = dial_port(free_tcp_port)
            caller = ends.caller()
            await caller.begin()
            assert await caller.hears_end()
            await until(lambda: ends.server.counters.upstream_fails == 1)
            assert await caller.resume(1) == b"0\n404"


async def test_a_client_may_resume_before_its_backend_is_there() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            dial, may_dial = ends.server.dial, trio.Event()

            async def slowly(call: Call) -> Backend:
                await may_dial.wait()
                return await dial(call)

            ends.server.dial = slowly
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"early ")
            await until(lambda: ends.server.counters.bytes_up == 6)
            assert await caller.resume(1) == b"6\n200"
            await caller.say(b"bird")
            may_dial.set()
            assert await caller.hear(10) == b"early bird"


async def test_while_a_client_is_away_its_backend_waits() -> None:
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        while True:
            await stream.send_all(bytes(BLOCK))
            sent += BLOCK

    with trio.fail_after(LONG):
        async with serving(flood) as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.hear(1000)
            await caller.stream.aclose()
            await until(lambda: ends.server.counters.sessions_waiting == 1)
            (session,) = ends.server.sessions.values()
            await trio.testing.wait_all_tasks_blocked(0.05)
            before = session.link.sent
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert session.link.sent == before
            assert (await caller.resume(1)).endswith(b"\n200")
            await caller.hear(1_000_000)


async def test_what_is_kept_is_bounded_by_what_the_policy_says() -> None:
    async def flood(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(bytes(BLOCK))

    most = 1_000_000
    with trio.fail_after(LONG):
        async with serving(flood, Policy(max_kept=most, reuse_time=5)) as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.hear(5_000_000)
            (session,) = ends.server.sessions.values()
            assert 0 < session.link.kept_bytes <= most + 2 * BLOCK
            assert await caller.resume(1, 0) == b"0\n406"
            assert (await caller.resume(1)).endswith(b"\n200")
            assert len(await caller.hear(100_000)) == 100_000


async def test_ids_are_not_given_to_the_next_but_go_round() -> None:
    directory = OwnDirectory(LAST_ID - 1)
    claimed = [await directory.claim() for _ in range(3)]
    assert claimed == [LAST_ID - 1, LAST_ID, 1]
    directory.release(1)
    assert await directory.claim() == 2
    again = OwnDirectory(1)
    again._next = 1
    assert [await again.claim(), await again.claim()] == [1, 2]
    again._next = 1
    assert await again.claim() == 3
    await again.find(1)


async def test_there_are_no_more_sessions_than_allowed() -> None:
    with trio.fail_after(LONG):
        async with serving(policy=Policy(max_sessions=1, reuse_time=5)) as ends:
            first = ends.caller()
            await first.begin()
            text = b"0\nBQAAAAAAAAA=\ntest1\n0"
            assert await ends.caller().ask(text) == b"closed"
            ends.server.policy = Policy(max_sessions=9, max_sessions_per_source=1, reuse_time=5)
            assert await ends.caller().ask(text) == b"closed"
            await first.say(b"unharmed")
            assert await first.hear(8) == b"unharmed"


async def test_a_session_that_only_lingers_makes_way() -> None:
    async def goodbye(stream: trio.SocketStream) -> None:
        await stream.aclose()

    with trio.fail_after(LONG):
        async with serving(goodbye, Policy(max_sessions=1, reuse_time=1000)) as ends:
            first = ends.caller()
            await first.begin()
            assert await first.hears_end()
            second = ends.caller()
            await second.begin()
            assert second.session_id in ends.server.sessions


async def test_a_session_can_be_ended_from_here() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            ends.server.sessions[caller.session_id].finish(Ended.KICKED)
            assert await caller.hears_end()
            await until(lambda: ends.server.counters.close_reasons == {"kicked": 1})


async def test_a_sealed_session_that_is_not_proven_dials_nobody() -> None:
    with trio.fail_after(LONG):
        async with serving(policy=Policy(handshake_timeout=0.1, psk=b"k" * 16)) as ends:
            offer = b"0\nBQAAAAAAAAA=\nt\n0\ntrioet1 " + b64encode(b"9" + bytes(31))
            assert b"trioet1 " in await ends.caller().ask(offer)
            await until(lambda: ends.server.counters.close_reasons == {"not_proven": 1})
            assert not ends.calls


async def test_a_connection_from_elsewhere_is_admitted_as_if_it_had_come_here() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            ours, its = socket.socketpair()
            ends.nursery.start_soon(ends.server.admit, its, b"\0\x05hel")
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            await stream.send_all(b"lo")
            assert FrameReader().feed(bytes(await stream.receive_some())) == b"0\n400"
            await stream.aclose()


async def test_a_resume_that_another_holds_is_handed_on_with_all_that_was_read() -> None:
    taken: list[bytes] = []

    class Elsewhere(OwnDirectory):
        async def find(self, session_id: int) -> Elsewhere:  # type: ignore[override]
            return self

        async def take(self, sock: socket.socket, preface: bytes) -> None:
            taken.append(preface)
            sock.send(frame(b"7\n200"))
            sock.close()

    listener = socket.create_server(("127.0.0.1", 0))
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            port = await listen(nursery, echo)
            server = SconServer(dial_port(port), QUICK, directory=Elsewhere())
            nursery.start_soon(server.serve, listener)
            caller = Caller(listener.getsockname()[1])
            text = b"5\n1\n0\nWPxO5ffKSaY="
            assert await caller.ask(text) == b"7\n200"
            assert taken == [frame(text)]
            caller.close()
            nursery.cancel_scope.cancel()


async def test_cancelling_only_accept_lets_sessions_end_as_they_do() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    accepting = trio.CancelScope()
    returned = trio.Event()
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            port = await listen(nursery, echo)
            server = SconServer(dial_port(port), Policy(reuse_time=0.1))

            async def serve() -> None:
                await server.serve(listener, accepting)
                returned.set()

            nursery.start_soon(serve)
            caller = Caller(listener.getsockname()[1])
            await caller.begin()
            accepting.cancel()
            await caller.say(b"on and on")
            assert await caller.hear(9) == b"on and on"
            with pytest.raises(OSError, match="all attempts to connect"):
                await caller.connect()
            assert not returned.is_set()
            await caller.stream.aclose()
            await returned.wait()
            nursery.cancel_scope.cancel()


async def test_memory_is_given_back_also_after_accepting_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scon_server, "TRIM_EVERY_S", 0.05)
    monkeypatch.setattr(scon_server, "QUIET_S", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    accepting = trio.CancelScope()
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            port = await listen(nursery, echo)
            server = SconServer(dial_port(port), Policy(reuse_buffer=BLOCK))
            nursery.start_soon(server.serve, listener, accepting)
            caller = Caller(listener.getsockname()[1])
            await caller.begin()
            accepting.cancel()
            for _ in range(20):
                await caller.say(bytes(BLOCK))
                await caller.hear(BLOCK)
            assert server.sessions
            await until(lambda: server.kept_bytes <= 2 * BLOCK)
            caller.close()
            nursery.cancel_scope.cancel()


async def test_a_server_that_is_cancelled_leaves_nothing_open() -> None:
    before = descriptors()
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"x")
            await caller.hear(1)
            await caller.stream.aclose()
    del ends
    assert descriptors() == before


async def test_counters_say_how_much_went_which_way() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"hello")
            await caller.hear(5)
            counters = ends.server.counters
            assert (counters.bytes_up, counters.bytes_down) == (5, 5)
            assert (counters.accepts, counters.sessions_begun, counters.sessions) == (1, 1, 1)


def test_a_summary_knows_the_quantiles_of_what_it_has_seen() -> None:
    summary = Counters().resends
    assert summary.quantile(0.5) != summary.quantile(0.5)
    for value in range(101):
        summary.observe(value)
    assert [summary.quantile(share) for share in (0, 0.5, 0.9, 1)] == [0, 50, 90, 100]
    assert (summary.count, summary.total) == (101, 5050)


async def test_a_dialer_that_says_the_line_broke_ends_the_session() -> None:
    async def dial(_: Call) -> Backend:
        raise LineBroken("it was never there")

    with trio.fail_after(LONG):
        async with serving() as ends:
            ends.server.dial = dial
            async with open_scon_stream("127.0.0.1", ends.port, secure=Secure.OFF) as stream:
                assert await stream.receive_some() == b""


async def test_a_client_that_is_silent_for_too_long_must_come_again() -> None:
    with trio.fail_after(LONG):
        async with serving(policy=Policy(read_timeout=0.2, reuse_time=5)) as ends:
            caller = ends.caller()
            await caller.begin()
            await caller.say(b"hello")
            await caller.hear(5)
            assert await caller.hears_end()
            assert await caller.resume(1) == b"5\n200"
            await caller.say(b"here again")
            assert await caller.hear(10) == b"here again"


def has_counted(server: SconServer, broken: int) -> bool:
    return server.counters.handshake_errors[501] == broken


async def test_a_balancer_that_only_looks_is_not_held_against_anybody() -> None:
    with trio.fail_after(LONG):
        async with serving() as ends:
            for number in range(30):
                stream = await ends.caller().connect()
                await stream.aclose()
                await until(partial(has_counted, ends.server, number + 1))
            assert not ends.server.refusals.penalised("127.0.0.1")


async def test_a_reload_changes_what_all_may_keep() -> None:
    async with serving() as ends:
        ends.server.policy = Policy(max_kept_in_all=12345)
        assert ends.server._budget.limit == ends.server.policy.max_kept_in_all == 12345


async def test_without_rc4_only_sealed_sessions_can_be_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> object:
        raise UnsupportedAlgorithm("RC4 is not there")

    monkeypatch.setattr(scon_arc4, "Cipher", refuse)
    with pytest.raises(UsageError, match="has no RC4"):
        SconServer(dial_port(1))
    with trio.fail_after(LONG):
        async with (
            serving(policy=Policy(secure=Secure.REQUIRED)) as ends,
            open_scon_stream("127.0.0.1", ends.port) as stream,
        ):
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
