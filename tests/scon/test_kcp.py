"""KCP: the same sessions, over datagrams that are lost, doubled, late, or somebody else's."""

from __future__ import annotations

import random
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("siokcp", reason="needs siokcp: pip install 'trioet[kcp]'")

from kcp_ends import OPTION, dial_kcp, faulty_relay, serving_kcp, udp
from trioet.link.dial import dial as dial_tcp
from trioet.link.line import SocketLine
from trioet.scon.kcp_conversation import UNPROVEN_FACTOR, Conversation
from trioet.scon.kcp_option import KcpOption
from trioet.scon.opening import open_scon_stream
from trioet.scon.stream import SconStream
from trioet.wire.kcp_segments import HEADER, Command, segments
from trioet.wire.scon_handshake import NewRequest, frame
from trioet.wire.scon_keys import public_key
from waiting import until

LONG = 60.0

REQUEST = frame(NewRequest(public_key(7), b"test1", 0).text())


def push(data: bytes, number: int = 0, conversation: int = 1) -> bytes:
    return HEADER.pack(conversation, Command.PUSH, 0, 128, 0, number, 0, len(data)) + data


async def echoes(stream: SconStream, data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        heard = b""
        while len(heard) < len(data):
            got = await stream.receive_some()
            assert got
            heard += got
    assert heard == data


async def test_a_session_goes_from_tcp_to_kcp_and_back() -> None:
    lines: list[SocketLine] = []
    with trio.fail_after(LONG):
        async with serving_kcp() as (ends, _listener, port):

            async def dial() -> SocketLine:
                over_kcp = len(lines) % 2 == 1
                made = (
                    dial_kcp(ends.nursery, port) if over_kcp else dial_tcp("127.0.0.1", ends.port)
                )
                lines.append(await made)
                return lines[-1]

            async with open_scon_stream("127.0.0.1", port, "test1", dial=dial) as stream:
                for turn in range(4):
                    await echoes(stream, random.Random(turn).randbytes(100_000))
                    lines[-1].close()
                assert ends.server.counters.sessions_begun == 1
                assert ends.server.counters.resumes >= 3


async def test_a_bad_network_changes_no_byte() -> None:
    with trio.fail_after(LONG):
        async with serving_kcp() as (ends, _listener, port):
            relay = await ends.nursery.start(faulty_relay, port, random.Random(6))

            async def dial() -> SocketLine:
                return await dial_kcp(ends.nursery, relay)

            async with open_scon_stream("127.0.0.1", relay, "test1", dial=dial) as stream:
                await echoes(stream, random.Random(1).randbytes(200_000))
            assert ends.calls[0].client[0] == "127.0.0.1"


async def test_garbage_is_not_answered_and_begins_nothing() -> None:
    dice = random.Random(3)
    bad = [dice.randbytes(dice.randrange(100)) for _ in range(100)]
    bad += [push(REQUEST, number=1), push(b""), push(REQUEST)[:-1], bytes(1501)]
    bad += [push(REQUEST) + push(b"x", 1, conversation=2)]
    bad += [struct.pack("<IHH", 0, 0xF1, 0) + push(REQUEST)]  # goscon's, with parity
    with trio.fail_after(LONG):
        async with serving_kcp() as (_ends, listener, port):
            with await udp() as stranger, await udp() as client:
                for datagram in bad:
                    await stranger.sendto(datagram, ("127.0.0.1", port))
                await client.sendto(push(REQUEST), ("127.0.0.1", port))
                await client.recvfrom(2000)
                assert listener.conversations == 1
                with trio.move_on_after(0.05) as scope:
                    await stranger.recvfrom(2000)
                assert scope.cancelled_caught


async def test_a_forged_address_gets_little_and_no_backend() -> None:
    with trio.fail_after(LONG):
        async with serving_kcp() as (ends, _listener, port):
            with await udp() as victim:
                await victim.sendto(push(REQUEST), ("127.0.0.1", port))
                got = 0
                with trio.move_on_after(1.5):
                    while True:
                        got += len(await victim.recv(2000))
                # Right numbers do not prove it; a time that we never sent does not either.
                forged = HEADER.pack(1, Command.ACK, 0, 128, 4711, 0, 1, 0)
                await victim.sendto(forged, ("127.0.0.1", port))
                assert 0 < got <= UNPROVEN_FACTOR * len(push(REQUEST))
                assert ends.calls == []


async def test_who_gets_what_is_sent_is_led_to_the_backend() -> None:
    with trio.fail_after(LONG):
        async with serving_kcp() as (ends, _listener, port):
            with await udp() as client:
                await client.sendto(push(REQUEST), ("127.0.0.1", port))
                while True:
                    answer = segments(await client.recv(2000))
                    said = [one for one in answer if one.command is Command.PUSH]
                    if said:
                        break
                ack = HEADER.pack(1, Command.ACK, 0, 128, said[0].time, 0, 1, 0)
                await client.sendto(ack, ("127.0.0.1", port))
                await until(lambda: bool(ends.calls))
                assert ends.calls[0].client == client.getsockname()


@pytest.mark.parametrize(
    "option", [KcpOption(max_connections=2), KcpOption(max_connections_per_source=2)]
)
async def test_there_are_only_so_many(option: KcpOption) -> None:
    with trio.fail_after(LONG):
        async with serving_kcp(option) as (_, listener, port):
            with await udp() as client:
                for number in range(5):
                    await client.sendto(push(REQUEST, conversation=number + 1), ("127.0.0.1", port))
                await until(lambda: listener.conversations == 2)
                await client.recv(2000)
                assert listener.conversations == 2


async def test_who_says_nothing_more_is_forgotten() -> None:
    with trio.fail_after(LONG):
        async with serving_kcp(KcpOption(read_timeout=0.2)) as (_, listener, port):
            with await udp() as client:
                await client.sendto(push(REQUEST), ("127.0.0.1", port))
                await client.recv(2000)
                await until(lambda: not listener.conversations)


WORD = st.integers(0, 2**32 - 1) | st.integers(0, 300)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Command), st.integers(0, 255), WORD, WORD, WORD, st.binary(max_size=50)
        ),
        max_size=60,
    )
)
def test_what_is_wrong_in_a_conversation_harms_no_other(
    parts: list[tuple[Command, int, int, int, int, bytes]],
) -> None:
    made = Conversation(1, KcpOption(opt_rcvwnd=128), 0.0)
    made.send(bytes(5000))
    for now, (command, fragment, time, number, expected, data) in enumerate(parts):
        datagram = HEADER.pack(1, command, fragment, now, time, number, expected, len(data)) + data
        made.input(datagram, segments(datagram), now / 50)
        made.received()
        for sent in made.flush(now / 50):
            assert segments(sent)[0].conversation == 1


def test_the_defaults_are_goscons() -> None:
    assert (OPTION.opt_mtu, OPTION.opt_sndwnd, OPTION.read_timeout) == (1400, 2048, 60.0)
