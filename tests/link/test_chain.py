from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lines import Cable, MemoryLine
from trioet.link.chain import Chain, ChainLine, Hop, RelayFailed
from trioet.link.line import Line, LineBroken
from trioet.link.reconnect import FIRST_REFUSED_S, patience_at_first
from trioet.wire.handshake import (
    connect_request_frame,
    connect_response_frame,
    relay_failure_frame,
)
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus, RelayFailure

A, B = Hop("a", b"a" * 16), Hop("b", b"b" * 16, own_door=True)
NEW = connect_response_frame(ConnectResponse(ConnectStatus.NEW_CLIENT))


def refused(failure: RelayFailure, chain: Chain | None = None) -> str:
    """What a user is told who hears that."""
    chain = chain or Chain([A, B])
    return str(chain.failed(chain.hops, failure))


async def connected(cable: Cable, chain: Chain) -> Line:
    async def reach() -> MemoryLine:
        return cable.client

    return await chain.dial(reach)


async def test_all_hops_are_asked_at_once() -> None:
    cable = Cable()
    line = await connected(cable, Chain([A, B]))
    line.try_send(b"for the session")
    assert await cable.server.receive() == (
        connect_request_frame(ConnectRequest(A.relay_id, relay=True))
        + connect_request_frame(ConnectRequest(B.relay_id, relay=True))
        + b"for the session"
    )


async def test_a_line_that_takes_little_is_waited_for() -> None:
    cable = Cable(capacity=7)
    came = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connected, cable, Chain([A, B]))
        while len(came) < 2 * len(connect_request_frame(ConnectRequest(b"a" * 16, relay=True))):
            came += await cable.server.receive()
    assert came.count(b"a" * 16) == came.count(b"b" * 16) == 1


async def test_cancelled_while_it_asks_it_leaves_nothing_open() -> None:
    cable = Cable(capacity=7)
    with trio.move_on_after(0.01):
        await connected(cable, Chain([A]))
    assert cable.client.closed


async def heard(answer: bytes, pieces: int, chain: Chain) -> bytes:
    """What a link gets to read when that is what comes back, in so many pieces."""
    cable = Cable()
    line = await connected(cable, chain)
    found = b""
    failure: LineBroken | None = None
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(answer), -(-len(answer) // pieces) or 1):
                cable.server.try_send(answer[start : start + -(-len(answer) // pieces)])
                await trio.testing.wait_all_tasks_blocked()
            cable.server.shutdown()

        nursery.start_soon(send)
        try:
            while data := await line.receive():
                found += data
        except LineBroken as error:
            nursery.cancel_scope.cancel()
            failure = error
    if failure is not None:
        raise failure
    return found


@pytest.mark.parametrize("pieces", [1, 3, 1000])
async def test_the_servers_answer_is_passed_on_as_it_came(pieces: int) -> None:
    answer = NEW + bytes(range(256))
    assert await heard(answer, pieces, Chain([A])) == answer


@pytest.mark.parametrize("pieces", [1, 3, 1000])
async def test_a_relays_answer_is_a_broken_line(pieces: int) -> None:
    answer = relay_failure_frame(RelayFailure(A.relay_id, b"cannot reach b: no route"))
    with pytest.raises(RelayFailed, match=r"^a cannot reach b: no route$"):
        await heard(answer, pieces, Chain([A]))


async def test_after_the_servers_answer_no_relay_is_believed() -> None:
    answer = NEW + relay_failure_frame(RelayFailure(A.relay_id, b"x", unknown=True))
    assert await heard(answer, 1, Chain([A])) == answer


@pytest.mark.parametrize("end", range(0, len(NEW), 5))
async def test_an_answer_that_breaks_off_is_passed_on(end: int) -> None:
    assert await heard(NEW[:end], 2, Chain([A])) == NEW[:end]


@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: NEW[:8] + tail))
def test_whatever_comes_is_passed_on_or_breaks_the_line(answer: bytes) -> None:
    said = ""
    try:
        assert trio.run(heard, answer, 3, Chain([A])) == answer
    except RelayFailed as error:
        said = str(error)
    assert said.isprintable()


def test_a_relay_that_none_of_ours_has_is_not_named() -> None:
    assert refused(RelayFailure(b"x", b"is full")) == "a jumphost is full"


def test_what_a_relay_says_cannot_reach_into_a_terminal_and_is_not_endless() -> None:
    said = refused(RelayFailure(A.relay_id, b"\x1b[2J\r\nfull\xff" + b"x" * 4000))
    assert said.isprintable()
    assert len(said) < 500


def test_who_says_nothing_is_named_all_the_same() -> None:
    assert refused(RelayFailure(A.relay_id)) == "a cannot relay"


@pytest.mark.parametrize(
    ("failure", "gone"),
    [
        (RelayFailure(A.relay_id, unknown=True), True),
        (RelayFailure(B.relay_id, unknown=True), True),
        (RelayFailure(A.relay_id, b"refused", refused=True), True),
        (RelayFailure(B.relay_id, b"refused", refused=True), False),
        (RelayFailure(A.relay_id, b"no route"), False),
        (RelayFailure(b"x", b"refused", refused=True), False),
    ],
)
def test_new_relays_are_asked_for_when_the_old_seem_to_be_gone(
    failure: RelayFailure, gone: bool
) -> None:
    """Where a hop is refused, whose own keeper listens there; never by the destination."""
    chain, asked = Chain([A, B]), []
    chain.on_gone = lambda: asked.append(True)
    refused(failure, chain)
    assert bool(asked) is gone


def test_why_there_are_no_new_ones_is_told() -> None:
    chain = Chain([A])
    chain.complaint = "ssh says no"
    assert refused(RelayFailure(A.relay_id, unknown=True), chain) == (
        "a no longer knows this session's way (ssh says no)"
    )


async def test_an_answer_on_behalf_of_former_hops_asks_for_nothing() -> None:
    chain, asked = Chain([A]), []
    chain.on_gone = lambda: asked.append(True)
    cable = Cable()
    line = await connected(cable, chain)
    chain.hops = (Hop("a", b"n" * 16),)
    cable.server.try_send(relay_failure_frame(RelayFailure(A.relay_id, unknown=True)))
    with pytest.raises(RelayFailed):
        await line.receive()
    assert not asked


@pytest.mark.parametrize("own_door", [True, False])
async def test_a_first_hop_where_nobody_listens_may_have_moved(
    own_door: bool, free_tcp_port: int
) -> None:
    chain, asked = Chain([Hop("a", b"a" * 16, own_door=own_door)]), []
    chain.on_gone = lambda: asked.append(True)

    async def reach() -> Line:
        await trio.open_tcp_stream("127.0.0.1", free_tcp_port)
        raise AssertionError("somebody listens there")

    with pytest.raises(OSError, match=r"."):
        await chain.dial(reach)
    assert bool(asked) is own_door


def test_the_first_connection_is_not_tried_for_longer_than_without_relays() -> None:
    assert patience_at_first(RelayFailed("refused")) == FIRST_REFUSED_S


async def test_all_else_is_the_lines_own(autojump_clock: trio.testing.MockClock) -> None:
    cable = Cable(capacity=60)
    line = await connected(cable, Chain([A]))
    assert isinstance(line, ChainLine)
    assert line.peer_name == "the other end, through 1 more"
    assert line.source == cable.client.source
    assert line.can_send()
    await line.wait_writable()
    line.try_send(bytes(1000))
    assert not line.can_send()
    line.shutdown()
    assert cable.client.out.shut
    line.close()
    assert cable.client.closed
