from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from lines import Cable
from pairs import DATA, ID, KEY, Inbox, Pair
from trioet.link.attachment import PROOF_DEADLINE_S
from trioet.link.resumable import (
    ACK_EVERY,
    HANDSHAKE_DEADLINE_S,
    ResumableLink,
    Role,
)
from trioet.link.room import WINDOW
from trioet.wire.framing import packet_frame
from trioet.wire.handshake import (
    catchup_entry,
    catchup_head,
    connect_request_frame,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus, encode_count
from trioet.wire.packet import PacketType, join_body
from trioet.wire.sealing import Direction, SealedBox


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery:
        yield Pair(nursery)
        nursery.cancel_scope.cancel()


def send(link: ResumableLink, *payloads: bytes) -> None:
    for payload in payloads:
        link.send(DATA, payload)


async def test_packets_cross_both_ways_in_order(pair: Pair) -> None:
    send(pair.client, b"a", b"b")
    pair.connect()
    send(pair.server, b"1")
    await wait_all_tasks_blocked()
    send(pair.server, b"2")
    await wait_all_tasks_blocked()

    assert pair.at_server.payloads == [b"a", b"b"]
    assert pair.at_client.payloads == [b"1", b"2"]


async def test_what_is_sent_together_goes_out_in_one_piece(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = pair.connect()
    await wait_all_tasks_blocked()
    pieces: list[int] = []
    put = cable.client.out.put

    def count(data: bytes | memoryview) -> int:
        pieces.append(len(data))
        return put(data)

    monkeypatch.setattr(cable.client.out, "put", count)
    with pair.client.together():
        send(pair.client, b"a", b"b")
        with pair.client.together():
            send(pair.client, b"c")
        assert not pieces
    assert len(pieces) == 1
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"a", b"b", b"c"]


async def test_what_was_sent_without_a_line_arrives_on_the_next(pair: Pair) -> None:
    cable = pair.connect()
    send(pair.client, b"before")
    await wait_all_tasks_blocked()
    cable.cut()
    await wait_all_tasks_blocked()
    send(pair.client, b"typed")
    send(pair.server, b"printed")

    pair.connect()
    await wait_all_tasks_blocked()

    assert pair.at_server.payloads == [b"before", b"typed"]
    assert pair.at_client.payloads == [b"printed"]
    assert pair.client.bytes_replayed > 0


cuts = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000)), max_size=8)


@settings(deadline=None)
@given(cuts, st.integers(0, 2**32), st.sampled_from([64, 500, 1 << 20]))
def test_wherever_lines_are_cut_everything_arrives_once_and_in_order(
    where: list[tuple[int, int]], seed: int, capacity: int
) -> None:
    async def session() -> None:
        rng = random.Random(seed)
        up = [rng.randbytes(rng.randrange(200)) for _ in range(30)]
        down = [rng.randbytes(rng.randrange(200)) for _ in range(30)]
        todo = [(True, payload) for payload in up] + [(False, payload) for payload in down]
        order = sorted(range(60), key=lambda index: (index % 30, rng.random()))
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            sending = iter([todo[index] for index in order])
            for bytes_up, bytes_down in [*where, (1 << 30, 1 << 30)]:
                cable = Cable(capacity)
                cable.cut_after(bytes_up, bytes_down)
                pair.connect(cable)
                for _ in range(rng.randrange(20)):
                    step = next(sending, None)
                    if step is not None:
                        send(pair.client if step[0] else pair.server, step[1])
                await wait_all_tasks_blocked()
            for to_server, payload in sending:
                send(pair.client if to_server else pair.server, payload)
            await wait_all_tasks_blocked()
            assert pair.at_server.payloads == [p for s, p in (todo[i] for i in order) if s]
            assert pair.at_client.payloads == [p for s, p in (todo[i] for i in order) if not s]
            nursery.cancel_scope.cancel()

    trio.run(session)


async def test_catchups_larger_than_any_buffer_cross_each_other(pair: Pair) -> None:
    await pair.meet_and_part()
    up = [bytes([number % 256]) * 8192 for number in range(256)]
    down = [bytes([number % 251]) * 8192 for number in range(256)]
    send(pair.client, *up)
    send(pair.server, *down)

    pair.connect(Cable(capacity=4096))
    await wait_all_tasks_blocked()

    assert pair.at_server.payloads == up
    assert pair.at_client.payloads == down


async def test_a_half_received_catchup_need_not_come_again(pair: Pair) -> None:
    await pair.meet_and_part()
    send(pair.server, *[bytes(1000)] * 10)
    half = Cable()
    half.cut_after(1 << 20, 5000)
    pair.connect(half)
    await wait_all_tasks_blocked()
    assert len(pair.at_client.payloads) == 4

    pair.connect()
    await wait_all_tasks_blocked()
    assert len(pair.at_client.payloads) == 10
    assert pair.client.bytes_replayed < 10 * 1018 + 500


async def test_a_stranger_with_the_id_displaces_nothing(pair: Pair) -> None:
    pair.connect()
    pair.client.send_keepalive()
    await wait_all_tasks_blocked()
    stranger = Cable()
    pair.nursery.start_soon(pair.run_server, stranger.server)
    hello = connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0) + catchup_head([])
    stranger.client.try_send(hello)
    await wait_all_tasks_blocked()
    assert len(pair.server.lines) == 2

    send(pair.client, b"still here")
    send(pair.server, b"so am I")
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"still here"]
    assert pair.at_client.payloads == [b"so am I"]

    forged = join_body(DATA, SealedBox(bytes(32), Direction.CLIENT_TO_SERVER).seal(1, b"rm -rf"))
    stranger.client.try_send(packet_frame(forged))
    await wait_all_tasks_blocked()
    assert pair.ends == ["server ForgedPacket: packet 2 does not open under the session's key"]
    assert len(pair.server.lines) == 1


async def test_a_stranger_who_says_nothing_is_dropped_in_time(
    pair: Pair, autojump_clock: MockClock
) -> None:
    pair.connect()
    pair.client.send_keepalive()
    await trio.sleep(1)
    stranger = Cable()
    pair.nursery.start_soon(pair.run_server, stranger.server)
    hello = connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0) + catchup_head([])
    stranger.client.try_send(hello)

    await trio.sleep(PROOF_DEADLINE_S - 0.1)
    assert len(pair.server.lines) == 2
    await trio.sleep(0.2)
    assert len(pair.server.lines) == 1
    assert "did not prove itself" in pair.ends[0]


async def test_a_handshake_that_dribbles_is_cut_off(pair: Pair, autojump_clock: MockClock) -> None:
    slow = Cable()
    pair.nursery.start_soon(pair.run_server, slow.server)
    hello = connect_request_frame(ConnectRequest(ID))
    begun = trio.current_time()
    for number in range(len(hello)):
        if pair.ends:
            break
        slow.client.try_send(hello[number : number + 1])
        await trio.sleep(0.9)

    assert pair.ends
    assert trio.current_time() - begun < HANDSHAKE_DEADLINE_S + 1


async def test_at_most_two_lines_are_on_trial(pair: Pair) -> None:
    pair.connect()
    pair.client.send_keepalive()
    await wait_all_tasks_blocked()
    hello = connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0) + catchup_head([])
    for _ in range(5):
        stranger = Cable()
        pair.nursery.start_soon(pair.run_server, stranger.server)
        stranger.client.try_send(hello)
        await wait_all_tasks_blocked()

    assert len(pair.server.lines) == 3
    assert len(pair.ends) == 3


async def test_the_older_line_goes_when_the_newer_has_proven_itself(pair: Pair) -> None:
    older = pair.connect()
    pair.client.send_keepalive()
    await wait_all_tasks_blocked()
    older.stall()  # what it brought first would prove nothing when the newer brings it again
    pair.connect()
    await wait_all_tasks_blocked()

    assert len(pair.client.lines) == len(pair.server.lines) == 1
    send(pair.client, b"over the new one")
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"over the new one"]


async def test_the_first_packets_do_not_wait_for_an_answer(pair: Pair) -> None:
    send(pair.client, b"first", b"second")
    cable = Cable()
    pair.nursery.start_soon(pair.run_client, cable.client)
    await wait_all_tasks_blocked()
    said = bytes(cable.client.out.held)
    request = connect_request_frame(ConnectRequest(ID))
    box = SealedBox(KEY, Direction.CLIENT_TO_SERVER)
    packets = [join_body(DATA, box.seal(n, text)) for n, text in ((1, b"first"), (2, b"second"))]
    assert said == request + b"".join(map(packet_frame, packets))

    send(pair.client, b"before the answer")
    pair.nursery.start_soon(pair.run_server, cable.server)
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"first", b"second", b"before the answer"]
    assert pair.ends == []


async def test_who_was_asked_on_our_behalf_is_given_no_packets_before_it_answers(
    pair: Pair,
) -> None:
    send(pair.client, b"first")
    pair.client.note_asked()
    cable = Cable()
    pair.nursery.start_soon(pair.run_client, cable.client)
    await wait_all_tasks_blocked()
    assert bytes(cable.client.out.held) == connect_request_frame(ConnectRequest(ID))
    pair.server.established = True
    pair.nursery.start_soon(pair.run_server, cable.server)
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"first"]


async def test_first_packets_whose_answer_was_lost_count_once(pair: Pair) -> None:
    """The server may have made the session on a connection whose answer was lost (1.4)."""
    send(pair.client, b"first", b"second")
    cable = Cable()
    cable.cut_after(up=1 << 20, down=0)
    pair.connect(cable)
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"first", b"second"]
    assert not pair.client.established

    send(pair.client, b"third")
    pair.connect()
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"first", b"second", b"third"]
    assert pair.client.established


async def test_a_server_that_was_asked_by_somebody_else_is_asked_again(pair: Pair) -> None:
    """The first packets went where it expected to be told what was received (1.4)."""
    pair.server.established = True
    send(pair.client, b"first")
    pair.connect()
    await wait_all_tasks_blocked()
    at_client, at_server = sorted(pair.ends)
    assert at_client == "client LineBroken: the server had been asked before"
    assert at_server.startswith("server FrameError: handshake message of ")
    pair.connect()
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"first"]


async def test_a_server_that_forgot_the_session_is_not_believed_to_have_it(pair: Pair) -> None:
    cable = pair.connect()
    send(pair.server, b"x")
    await wait_all_tasks_blocked()
    cable.cut()
    pair.server.established = False
    pair.connect()
    await wait_all_tasks_blocked()
    assert any("forgotten the session" in end for end in pair.ends)


@pytest.mark.parametrize("status", [ConnectStatus.INVALID_KEY, ConnectStatus.MISMATCHED_PROTOCOL])
async def test_a_refusal_carries_the_servers_words(pair: Pair, status: ConnectStatus) -> None:
    cable = Cable()
    pair.nursery.start_soon(pair.run_client, cable.client)
    cable.server.try_send(connect_response_frame(ConnectResponse(status, b"go away")))
    await wait_all_tasks_blocked()
    assert pair.ends == ["client Refused: go away"]


@pytest.mark.parametrize("count", [1, 7, 2**31 - 1])
async def test_a_peer_that_claims_more_than_was_sent_loses_its_line(pair: Pair, count: int) -> None:
    pair.server.established = True
    cable = Cable()
    pair.nursery.start_soon(pair.run_server, cable.server)
    cable.client.try_send(connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(count))
    await wait_all_tasks_blocked()
    assert pair.ends == [f"server HandshakeError: the peer claims {count} packets of 0 sent"]


async def test_a_packet_that_makes_no_sense_costs_the_line_and_may_come_again(pair: Pair) -> None:
    pair.at_server.balk_at = b"what"
    pair.connect()
    send(pair.client, b"fine", b"what", b"fine again")
    await wait_all_tasks_blocked()
    assert pair.ends[0] == "server PacketError: balked"
    assert pair.at_server.payloads == [b"fine"]

    pair.at_server.balk_at = None
    pair.connect()
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [b"fine", b"what", b"fine again"]


async def test_acknowledged_packets_take_no_memory(pair: Pair) -> None:
    pair.connect()
    pair.client.send_keepalive()
    await wait_all_tasks_blocked()
    for _ in range(200):
        await pair.server.wait_room()
        send(pair.server, bytes(16384))
        await wait_all_tasks_blocked()
    assert pair.server.kept_bytes < 2 * ACK_EVERY
    assert len(pair.at_client.payloads) == 200


async def test_an_acknowledgement_is_not_answered_and_a_question_is(
    pair: Pair, mock_clock: MockClock
) -> None:
    pair.client.agree_acks()
    pair.server.agree_acks()
    pair.connect()
    send(pair.server, bytes(ACK_EVERY // 2), bytes(ACK_EVERY // 2))
    await wait_all_tasks_blocked()
    assert pair.client.sent == 1, "it has acknowledged both"
    assert pair.server.in_flight == 0
    assert pair.client.received == pair.server.sent == 2

    send(pair.server, b"little")
    pair.client.ping()
    mock_clock.jump(0.25)
    await wait_all_tasks_blocked()
    assert pair.client.sent == 2
    assert pair.client.received == pair.server.sent == 4, "little, and the answer"
    assert pair.client.round_trip == 0.25


async def test_a_peer_that_acknowledges_bounds_what_is_in_flight(pair: Pair) -> None:
    pair.connect()
    pair.client.send_keepalive()
    await wait_all_tasks_blocked()
    pair.at_client.busy = trio.Event()
    sent = 0
    while pair.server.has_room():
        send(pair.server, bytes(16384))
        sent += 16384
        await wait_all_tasks_blocked()
    assert WINDOW <= sent < WINDOW + 2 * 16384
    assert pair.client.reading_paused

    pair.at_client.busy.set()
    with trio.fail_after(1):
        await pair.server.wait_room()


async def test_without_a_line_packets_are_kept_up_to_the_limit(pair: Pair) -> None:
    async with trio.open_nursery() as nursery:
        small = Pair(nursery, max_kept=100_000)
        await small.meet_and_part()
        sent: list[bytes] = []
        while small.server.has_room():
            sent.append(bytes([len(sent)]) * 5000)
            send(small.server, sent[-1])
        assert 100_000 <= small.server.kept_bytes < 110_000

        small.connect()
        await wait_all_tasks_blocked()
        assert small.at_client.payloads == sent
        nursery.cancel_scope.cancel()


async def test_a_peer_that_never_acknowledges_costs_no_more_than_the_limit() -> None:
    async with trio.open_nursery() as nursery:
        small = Pair(nursery, max_kept=100_000)
        small.connect()
        send(small.client, b"it is me")
        await wait_all_tasks_blocked()
        for _ in range(100):
            send(small.server, bytes(5000))
            await wait_all_tasks_blocked()
        assert small.server.kept_bytes < 110_000
        assert len(small.at_client.payloads) == 100
        nursery.cancel_scope.cancel()


async def test_nothing_that_a_peer_has_not_acknowledged_is_forgotten() -> None:
    """Not even when more is kept than may be, and a line has taken all of it and is lost."""
    async with trio.open_nursery() as nursery:
        small = Pair(nursery, max_kept=100_000)
        for link in (small.client, small.server):
            link.agree_acks()
        await small.meet_and_part()
        send(small.client, *[bytes(5000)] * 30)
        for _ in range(3):
            lost = Cable()
            small.connect(lost)
            lost.cut_after(2000, 1 << 20)
            await wait_all_tasks_blocked()
        small.connect()
        await wait_all_tasks_blocked()
        assert len(small.at_server.payloads) == 30
        nursery.cancel_scope.cancel()


async def test_a_peer_that_never_acknowledges_is_not_robbed_of_what_is_under_way() -> None:
    """A catch-up as large as all that is kept is cut, again and again, while more is typed."""
    async with trio.open_nursery() as nursery:
        small = Pair(nursery, max_kept=100_000)
        await small.meet_and_part()
        send(small.server, *[bytes(5000)] * 20)
        for _ in range(3):
            lost = Cable(capacity=1000)
            small.connect(lost)
            await wait_all_tasks_blocked()
            send(small.server, bytes(5000))
            lost.cut()
            await wait_all_tasks_blocked()
        small.connect()
        await wait_all_tasks_blocked()
        assert len(small.at_client.payloads) == 23
        nursery.cancel_scope.cancel()


async def test_a_full_line_holds_bulk_back(pair: Pair) -> None:
    cable = pair.connect(Cable(capacity=1000))
    send(pair.client, b"it is me")
    await wait_all_tasks_blocked()
    pair.at_client.busy = trio.Event()
    send(pair.server, bytes(5000))
    await wait_all_tasks_blocked()
    assert not pair.server.has_room()
    pair.at_client.busy.set()
    with trio.fail_after(1):
        await pair.server.wait_room()
    assert cable.client.back.carried > 5000


async def test_everything_is_delivered_when_the_peer_says_so(pair: Pair) -> None:
    pair.connect()
    pair.client.send_keepalive()
    pair.server.agree_acks()
    await wait_all_tasks_blocked()
    send(pair.server, b"last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.server.wait_delivered)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        pair.client.send_keepalive()


async def test_everything_is_delivered_when_an_et_peer_has_read_to_the_end(pair: Pair) -> None:
    """A peer that never acknowledges reads all there is before it sees the end."""
    cable = Cable()
    pair.nursery.start_soon(pair.run_server, cable.server)
    box = SealedBox(KEY, Direction.CLIENT_TO_SERVER)
    keepalive = packet_frame(join_body(PacketType.KEEP_ALIVE, box.seal(1, b"")))
    cable.client.try_send(connect_request_frame(ConnectRequest(ID)) + keepalive)
    await wait_all_tasks_blocked()
    send(pair.server, b"last words")

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.server.wait_delivered)
            while await cable.client.receive():
                assert nursery.child_tasks
            cable.client.shutdown()


async def test_last_words_wait_for_a_client_that_is_away(pair: Pair) -> None:
    await pair.meet_and_part()
    pair.server._room.peer_acknowledges = True
    send(pair.server, b"last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.server.wait_delivered)
        await wait_all_tasks_blocked()
        pair.connect()
    assert pair.at_client.payloads == [b"last words"]


async def test_a_closed_link_gives_its_memory_back(pair: Pair) -> None:
    send(pair.server, bytes(1000))
    cable = pair.connect()
    await wait_all_tasks_blocked()
    pair.server.close()
    await wait_all_tasks_blocked()
    assert pair.server.kept_bytes == 0
    assert not pair.server.lines
    assert cable.server.closed


async def test_cancelling_a_line_closes_it_and_keeps_what_was_not_sent(pair: Pair) -> None:
    cable = Cable(capacity=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.run_client, cable.client)
        nursery.start_soon(pair.run_server, cable.server)
        send(pair.client, bytes(5000), b"end")
        cable.stall()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert cable.client.closed
    assert cable.server.closed

    pair.connect()
    await wait_all_tasks_blocked()
    assert pair.at_server.payloads == [bytes(5000), b"end"]


def test_links_say_where_they_stand_and_not_their_key() -> None:
    link = ResumableLink(KEY, Role.CLIENT, Inbox())
    assert "sent=0" in repr(link)
    assert "12345678901234567890" not in repr(link)


@pytest.fixture
async def relays() -> AsyncIterator[Pair]:
    """As a jumphost's two links would be, if they faced each other."""
    async with trio.open_nursery() as nursery:
        yield Pair(nursery, relays=True)
        nursery.cancel_scope.cancel()


async def test_a_link_that_relays_says_nothing_of_itself(relays: Pair) -> None:
    send(relays.client, b"a")
    cable = relays.connect()
    send(relays.server, b"b")
    await wait_all_tasks_blocked()
    cable.cut()
    send(relays.client, b"c")
    relays.connect()
    await wait_all_tasks_blocked()
    changes: list[bool] = []
    relays.client.on_change = lambda: changes.append(True)
    relays.server.send(PacketType.KEEP_ALIVE, b"")
    relays.client.send(PacketType.KEEP_ALIVE, encode_count(2))
    await wait_all_tasks_blocked()
    assert changes == [True], "it is an answer, to who is behind us"

    assert (relays.client.sent, relays.server.sent) == (3, 2)
    assert relays.at_server.payloads == [b"a", b"c", encode_count(2)]
    assert relays.at_client.payloads == [b"b", b""]
    assert relays.server.in_flight == 0, "but it heeds what the other says"


async def test_a_link_that_relays_keeps_one_packet_to_follow_a_catchup(relays: Pair) -> None:
    """A real peer looks at a catch-up only when something more arrives."""
    await relays.meet_and_part()
    send(relays.server, b"one", b"two", b"three")
    cable = Cable()
    relays.nursery.start_soon(relays.run_server, cable.server)
    cable.client.try_send(connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0))
    await wait_all_tasks_blocked()

    came = await cable.client.receive()
    box = SealedBox(KEY, Direction.SERVER_TO_CLIENT)
    bodies = [join_body(DATA, box.seal(n, text)) for n, text in enumerate((b"one", b"two"), 1)]
    last = packet_frame(join_body(DATA, box.seal(3, b"three")))
    assert came.endswith(
        catchup_head([len(body) for body in bodies]) + b"".join(map(catchup_entry, bodies)) + last
    )
