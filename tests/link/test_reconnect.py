from __future__ import annotations

import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from lines import Cable
from pairs import DATA, ID, Pair
from trioet.errors import LocalError, SessionLost, TrioetError
from trioet.link.line import Line
from trioet.link.reconnect import (
    DENIED_S,
    DIAL_DEADLINE_S,
    FIRST_PATIENCE_S,
    FIRST_REFUSED_S,
    MAX_DIALLING,
    MAX_SHAKING,
    PAUSE_ALONE_S,
    PAUSE_AT_KEYBOARD_S,
    WAKE_PAUSE_S,
    CannotConnect,
    Reconnector,
    explain,
)
from trioet.link.resumable import Refused
from trioet.wire.framing import HANDSHAKE_LENGTH
from trioet.wire.handshake import connect_response_frame, sequence_header_frame
from trioet.wire.messages import ConnectResponse, ConnectStatus
from trioet.wire.packet import Packet


class Network:
    """Dials: reaches the server, refuses, or swallows, as told; notes when it was asked."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.cables: list[Cable] = []
        self.asked: list[float] = []
        self.dial_now: Callable[[], Awaitable[Line]] = self.reach
        self.reconnector = Reconnector(pair.client, ID, self._dial, jitter=random.Random(7))
        pair.client.on_change = self.reconnector.line_changed
        self.error: TrioetError | None = None

    async def _dial(self) -> Line:
        self.asked.append(trio.current_time())
        return await self.dial_now()

    async def reach(self) -> Line:
        cable = Cable()
        self.cables.append(cable)
        self.pair.nursery.start_soon(self.pair.run_server, cable.server)
        return cable.client

    async def refuse(self) -> Line:
        raise ConnectionRefusedError(111, "Connection refused")

    async def unknown_name(self) -> Line:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> Line:
        """As a router that cannot deliver yet."""
        cable = Cable()
        cable.server.shutdown()
        return cable.client

    async def close_late(self) -> Line:
        """As a router that waits for a keeper in vain."""
        cable = Cable()

        async def wait() -> None:
            await trio.sleep(0.8 * FIRST_PATIENCE_S)
            cable.server.shutdown()

        self.pair.nursery.start_soon(wait)
        return cable.client

    async def reset(self) -> Line:
        """As a router that is just killed."""
        cable = Cable()
        cable.cut()
        return cable.client

    async def swallow(self) -> Line:
        await trio.sleep_forever()

    def answer(self, status: ConnectStatus) -> Callable[[], Awaitable[Line]]:
        return self.say(connect_response_frame(ConnectResponse(status, b"no")))

    def say(self, data: bytes) -> Callable[[], Awaitable[Line]]:
        async def dial() -> Line:
            cable = Cable()
            cable.server.try_send(data)
            return cable.client

        return dial

    async def run(self, line: Line | None = None) -> None:
        try:
            await self.reconnector.run(line)
        except* TrioetError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, TrioetError)
            self.error = error

    def lose(self, how: Callable[[], Awaitable[Line]]) -> None:
        self.asked.clear()
        self.dial_now = how
        self.cables[-1].cut()


@pytest.fixture
async def network(autojump_clock: MockClock) -> AsyncIterator[Network]:
    async with trio.open_nursery() as nursery:
        yield Network(Pair(nursery))
        nursery.cancel_scope.cancel()


@pytest.fixture
async def connected(network: Network) -> Network:
    network.pair.nursery.start_soon(network.run)
    network.pair.client.send(DATA, b"hello")
    await trio.sleep(1)
    assert network.pair.client.attached
    return network


async def test_a_lost_line_is_replaced_at_once(
    connected: Network, autojump_clock: MockClock
) -> None:
    lost = trio.current_time()
    connected.lose(connected.reach)
    await trio.sleep(0.01)
    assert connected.asked == [lost]
    assert connected.pair.client.attached


async def test_a_line_that_is_there_is_used_and_no_other_asked_for(
    network: Network, autojump_clock: MockClock
) -> None:
    line = await network.reach()
    network.pair.nursery.start_soon(network.run, line)
    network.pair.client.send(DATA, b"hello")
    await trio.sleep(5)
    assert network.pair.client.attached
    assert not network.asked


async def test_while_the_user_waits_pauses_grow_to_a_second(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.refuse)
    for _ in range(40):
        connected.reconnector._typed_at = trio.current_time()
        await trio.sleep(0.5)
    pauses = [b - a for a, b in zip(connected.asked, connected.asked[1:], strict=False)]
    assert pauses[0] < 0.2
    assert max(pauses) <= 1.25 * PAUSE_AT_KEYBOARD_S
    assert min(pauses[-5:]) >= 0.75 * PAUSE_AT_KEYBOARD_S


async def test_nobody_at_the_keyboard_makes_them_longer(
    connected: Network, autojump_clock: MockClock
) -> None:
    await trio.sleep(100)
    connected.lose(connected.refuse)
    await trio.sleep(600)
    pauses = [b - a for a, b in zip(connected.asked, connected.asked[1:], strict=False)]
    assert 0.75 * PAUSE_ALONE_S <= pauses[-1] <= 1.25 * PAUSE_ALONE_S


@pytest.mark.parametrize("waker", ["typed", "wake"])
async def test_a_key_or_a_new_network_ends_the_pause(
    connected: Network, waker: str, autojump_clock: MockClock
) -> None:
    await trio.sleep(100)
    connected.lose(connected.refuse)
    await trio.sleep(300)
    connected.dial_now = connected.reach
    getattr(connected.reconnector, waker)()
    await trio.sleep(0.2)
    assert connected.pair.client.attached


async def test_an_attempt_in_a_black_hole_is_not_waited_for(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.swallow)
    await trio.sleep(5)
    assert len(connected.asked) >= 4
    connected.dial_now = connected.reach
    await trio.sleep(2 * PAUSE_AT_KEYBOARD_S)
    assert connected.pair.client.attached


async def test_a_slow_dial_is_given_its_time(connected: Network, autojump_clock: MockClock) -> None:
    async def slow() -> Line:
        await trio.sleep(2.5)
        return await connected.reach()

    connected.lose(slow)
    await trio.sleep(3)
    assert connected.pair.client.attached


async def test_a_dial_that_never_ends_is_given_up(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.swallow)
    await trio.sleep(4 * DIAL_DEADLINE_S)
    assert connected.reconnector.reason in ("connection timed out", "closed on this side", "cut")
    assert len(connected.reconnector._attempts) <= 5


async def test_beside_a_suspect_line_another_is_tried(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.cables[-1].stall()
    connected.reconnector.suspect()
    await trio.sleep(0.1)
    assert len(connected.cables) == 2
    assert len(connected.pair.client.lines) == 1

    connected.pair.client.send(DATA, b"over the new one")
    await trio.sleep(0.1)
    assert connected.pair.at_server.payloads == [b"hello", b"over the new one"]


async def test_a_suspect_line_that_speaks_again_is_kept(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.dial_now = connected.swallow
    connected.cables[-1].stall()
    connected.reconnector.suspect()
    await trio.sleep(2)
    connected.cables[-1].stall(False)
    connected.pair.client.send_keepalive()
    await trio.sleep(0.1)
    connected.reconnector.line_changed()
    await trio.sleep(0.1)

    asked = len(connected.asked)
    await trio.sleep(60)
    assert len(connected.asked) == asked
    assert connected.pair.client.attached


async def test_one_invalid_key_does_not_end_a_session_that_just_worked(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.answer(ConnectStatus.INVALID_KEY))
    await trio.sleep(0.06)
    connected.dial_now = connected.reach
    await trio.sleep(1)
    assert connected.error is None
    assert connected.pair.client.attached


async def test_a_session_that_is_repeatedly_unknown_is_lost(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.answer(ConnectStatus.INVALID_KEY))
    await trio.sleep(1)
    assert isinstance(connected.error, SessionLost)


@pytest.mark.parametrize("status", [ConnectStatus.INVALID_KEY, ConnectStatus.MISMATCHED_PROTOCOL])
async def test_forged_refusals_do_not_end_a_session_of_a_server_that_would_say_so_itself(
    connected: Network, status: ConnectStatus, autojump_clock: MockClock
) -> None:
    connected.reconnector.denied_s = DENIED_S
    connected.lose(connected.answer(status))
    await trio.sleep(DENIED_S - 20)
    assert connected.error is None
    assert len(connected.asked) > 20
    connected.dial_now = connected.reach
    await trio.sleep(PAUSE_ALONE_S * 1.25)
    assert connected.pair.client.attached


async def test_a_server_that_denies_the_session_for_minutes_is_believed(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.reconnector.denied_s = DENIED_S
    connected.lose(connected.answer(ConnectStatus.INVALID_KEY))
    await trio.sleep(DENIED_S + 20)
    assert isinstance(connected.error, SessionLost)
    assert str(connected.error) == "the server does not know the session"


async def test_denials_that_lie_far_apart_do_not_add_up(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.reconnector.denied_s = DENIED_S
    connected.lose(connected.answer(ConnectStatus.INVALID_KEY))
    await trio.sleep(60)
    connected.dial_now = connected.refuse
    await trio.sleep(DENIED_S)
    connected.dial_now = connected.answer(ConnectStatus.INVALID_KEY)
    await trio.sleep(60)
    assert connected.error is None


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 302 Found\r\n\r\n",
        HANDSHAKE_LENGTH.pack(-1),
        HANDSHAKE_LENGTH.pack(128 << 20),
        connect_response_frame(ConnectResponse(ConnectStatus.NEW_CLIENT)),
        connect_response_frame(ConnectResponse(ConnectStatus.RETURNING_CLIENT))
        + sequence_header_frame(10**6),
    ],
)
async def test_a_hostile_server_costs_a_connection_and_is_counted(
    connected: Network,
    nonsense: bytes,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    caplog.set_level(logging.INFO)
    connected.pair.server.send(DATA, b"so that the client has something")
    await trio.sleep(1)
    connected.lose(connected.say(nonsense))
    await trio.sleep(0.04)
    connected.dial_now = connected.reach
    await trio.sleep(1)
    assert connected.reconnector.refused == 1
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("refused the other end: ")
    assert connected.pair.client.attached


async def test_a_forged_invalid_key_beside_a_live_line_is_not_believed(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.dial_now = connected.answer(ConnectStatus.INVALID_KEY)
    connected.reconnector.suspect()
    await trio.sleep(3)
    assert connected.error is None
    assert connected.pair.client.attached


async def test_another_version_is_told_at_once(network: Network, autojump_clock: MockClock) -> None:
    network.dial_now = network.answer(ConnectStatus.MISMATCHED_PROTOCOL)
    await network.run()
    assert str(network.error) == "no"


async def test_what_is_the_matter_with_the_receiver_is_told_and_not_tried_again(
    connected: Network, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def break_down(packet: Packet) -> None:
        raise LocalError("no room for it")

    monkeypatch.setattr(connected.pair.at_client, "packet_arrived", break_down)
    connected.asked.clear()
    connected.pair.server.send(DATA, b"too much")
    await trio.sleep(60)
    assert str(connected.error) == "no room for it"
    assert connected.asked == []


async def test_what_is_the_matter_with_a_dial_may_be_gone_the_next_time(
    connected: Network, autojump_clock: MockClock
) -> None:
    async def cannot() -> Line:
        raise LocalError("out of descriptors")

    connected.lose(cannot)
    await trio.sleep(60)
    assert connected.error is None
    connected.dial_now = connected.reach
    await trio.sleep(60)
    assert connected.pair.client.attached


@pytest.mark.parametrize(
    ("how", "lasts_s"),
    [
        (Network.close, 0.8 * FIRST_PATIENCE_S),
        (Network.reset, 0.8 * FIRST_PATIENCE_S),
        (Network.swallow, 0.8 * FIRST_PATIENCE_S),
        (Network.refuse, 0.8 * FIRST_REFUSED_S),
    ],
)
async def test_the_first_connection_outlasts_a_router_that_restarts(
    network: Network,
    how: Callable[[Network], Awaitable[Line]],
    lasts_s: float,
    autojump_clock: MockClock,
) -> None:
    network.dial_now = lambda: how(network)
    network.pair.nursery.start_soon(network.run)
    await trio.sleep(lasts_s)
    network.dial_now = network.reach
    await trio.sleep(2 * PAUSE_AT_KEYBOARD_S)
    assert network.error is None
    assert network.pair.client.attached


@pytest.mark.parametrize(
    ("how", "lasts_s", "told"),
    [
        (Network.close, FIRST_PATIENCE_S, "the peer closed the connection"),
        (Network.close_late, FIRST_PATIENCE_S, "the peer closed the connection"),
        (Network.swallow, FIRST_PATIENCE_S, "connection timed out"),
        (Network.refuse, FIRST_REFUSED_S, "connection refused"),
    ],
)
async def test_what_lasts_is_told_before_the_user_gives_up(
    network: Network,
    how: Callable[[Network], Awaitable[Line]],
    lasts_s: float,
    told: str,
    autojump_clock: MockClock,
) -> None:
    network.dial_now = lambda: how(network)
    await network.run()
    assert isinstance(network.error, CannotConnect)
    assert str(network.error) == told
    assert lasts_s <= trio.current_time() <= lasts_s + 1.25 * PAUSE_AT_KEYBOARD_S


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (Network.unknown_name, "name or service not known"),
        (lambda network: network.say(b"HTTP/1.1 302 Found\r\n\r\n")(), "message of"),
    ],
)
async def test_what_does_not_pass_is_told_at_once(
    network: Network,
    how: Callable[[Network], Awaitable[Line]],
    told: str,
    autojump_clock: MockClock,
) -> None:
    network.dial_now = lambda: how(network)
    await network.run()
    assert isinstance(network.error, CannotConnect)
    assert told in str(network.error)
    assert len(network.asked) == 1


async def test_a_session_unknown_from_the_start_is_told_at_once(
    network: Network, autojump_clock: MockClock
) -> None:
    network.dial_now = network.answer(ConnectStatus.INVALID_KEY)
    await network.run()
    assert str(network.error) == "no"


async def test_cancelling_closes_all_lines(network: Network, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert network.cables[0].client.closed
    assert not network.pair.client.attached


def test_causes_are_dug_out_of_a_raced_connection() -> None:
    raced = OSError("all attempts to connect failed")
    raced.__cause__ = ExceptionGroup("", [OSError(113, "No route"), OSError(111, "Refused")])
    assert explain(raced) == "connection refused"
    assert explain(OSError("odd")) == "odd"


# The network changes


async def test_a_suspicion_that_is_repeated_brings_no_flood_of_attempts(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.cables[-1].stall()
    connected.asked.clear()
    connected.dial_now = connected.swallow
    begun = trio.current_time()
    while trio.current_time() < begun + 2:
        connected.reconnector.suspect()
        connected.reconnector.network_changed()
        await trio.sleep(0.001)
    assert MAX_DIALLING <= len(connected.asked) <= 2 / WAKE_PAUSE_S + 1
    assert connected.pair.client.attached


async def test_what_hangs_since_before_a_change_makes_room(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.swallow)
    while len(connected.asked) < MAX_DIALLING:  # noqa: ASYNC110 - it sends no event
        await trio.sleep(0.01)
    assert trio.current_time() - connected.asked[0] > PAUSE_AT_KEYBOARD_S
    await trio.sleep(WAKE_PAUSE_S)
    connected.dial_now = connected.reach
    changed = trio.current_time()
    connected.reconnector.network_changed()
    await trio.sleep(0.01)
    assert connected.asked[-1] == changed
    assert connected.pair.client.attached


async def test_hands_that_are_shaken_in_vain_since_before_a_change_make_room(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.say(b""))
    await trio.sleep(PAUSE_AT_KEYBOARD_S * (MAX_SHAKING + 1))
    assert len(connected.asked) == MAX_SHAKING
    connected.dial_now = connected.reach
    connected.reconnector.network_changed()
    await trio.sleep(0.01)
    assert connected.pair.client.attached


async def test_a_line_that_answers_ends_the_attempts_beside_it(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.dial_now = connected.swallow
    connected.cables[-1].stall()
    connected.reconnector.suspect()
    await trio.sleep(0.05)
    asked = len(connected.asked)
    connected.cables[-1].stall(False)
    connected.pair.client.send_keepalive()
    await trio.sleep(60)
    assert len(connected.asked) == asked
    assert connected.pair.client.lines == [connected.cables[-1].client]


async def test_a_way_that_was_not_there_a_moment_ago_is_tried_as_soon_as_it_is(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.refuse)
    await trio.sleep(5)
    connected.reconnector.network_changed()
    await trio.sleep(WAKE_PAUSE_S / 10)
    connected.dial_now = connected.reach
    changed = trio.current_time()
    connected.reconnector.network_changed()
    await trio.sleep(WAKE_PAUSE_S / 10)
    assert connected.asked[-1] == changed
    assert connected.pair.client.attached


async def test_a_wake_that_finds_no_room_is_not_forgotten(
    connected: Network, autojump_clock: MockClock
) -> None:
    connected.lose(connected.swallow)
    while len(connected.asked) < MAX_DIALLING:
        connected.reconnector.wake()
        await trio.sleep(WAKE_PAUSE_S)
    connected.dial_now = connected.reach
    connected.reconnector.network_changed()
    await trio.sleep_until(connected.asked[0] + PAUSE_AT_KEYBOARD_S - 0.01)
    assert len(connected.asked) == MAX_DIALLING
    await trio.sleep(1.1 * WAKE_PAUSE_S)
    assert connected.pair.client.attached


async def test_to_be_unknown_at_first_may_mean_that_the_server_was_not_told_yet(
    network: Network, autojump_clock: MockClock
) -> None:
    network.reconnector.unknown_s = 2
    network.dial_now = network.answer(ConnectStatus.INVALID_KEY)
    network.pair.nursery.start_soon(network.run)
    await trio.sleep(1.5)
    assert network.error is None
    network.dial_now = network.reach
    await trio.sleep(1)
    assert network.pair.client.attached


async def test_refused_at_first_it_tries_whoever_else_may_have_the_session(
    network: Network, autojump_clock: MockClock
) -> None:
    refusing: list[Line] = []

    def refused(line: Line) -> bool:
        refusing.append(line)
        network.dial_now = network.reach
        return True

    network.reconnector.on_refused = refused
    network.dial_now = network.answer(ConnectStatus.INVALID_KEY)
    network.pair.nursery.start_soon(network.run)
    await trio.sleep(1)
    assert network.error is None
    assert network.pair.client.attached
    assert len(refusing) == 1


async def test_refused_by_one_and_with_no_way_to_another_it_gives_up(
    network: Network, autojump_clock: MockClock
) -> None:
    def refused(line: Line) -> bool:
        network.dial_now = network.refuse
        return True

    network.reconnector.on_refused = refused
    network.dial_now = network.answer(ConnectStatus.INVALID_KEY)
    network.pair.nursery.start_soon(network.run)
    await trio.sleep(2 * FIRST_REFUSED_S)
    assert isinstance(network.error, CannotConnect)
    assert str(network.error) == "connection refused"


@pytest.mark.parametrize(
    ("status", "seconds"),
    [(ConnectStatus.INVALID_KEY, 2), (ConnectStatus.MISMATCHED_PROTOCOL, 0)],
)
async def test_but_not_for_ever_and_no_other_refusal(
    network: Network, status: ConnectStatus, seconds: float, autojump_clock: MockClock
) -> None:
    network.reconnector.unknown_s = 2
    network.dial_now = network.answer(status)
    network.pair.nursery.start_soon(network.run)
    await trio.sleep(seconds + 1.5)
    assert isinstance(network.error, Refused)
