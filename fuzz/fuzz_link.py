"""A stranger on a live session's line, in either role: link/resumable.py and all below it.

The first byte chooses the role; the rest is what the stranger says, in slices. Whatever it
is, both ends have what the other sent and nothing else, and go on over the line they had.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from harness import Target, instrumented, sliced
from trio.testing import MockClock, wait_all_tasks_blocked

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

with instrumented():
    from lines import Cable
    from pairs import DATA, ID, Pair
    from trioet.wire.framing import packet_frame
    from trioet.wire.handshake import (
        catchup_entry,
        catchup_head,
        connect_request_frame,
        connect_response_frame,
        sequence_header_frame,
    )
    from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus


def take(data: bytes) -> None:
    trio.run(_intrude, data, clock=MockClock(autojump_threshold=0))


async def _intrude(data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        pair.connect()
        pair.client.send(DATA, b"hello")
        pair.server.send(DATA, b"hello")
        await wait_all_tasks_blocked()
        at_client = data[:1] == b"C"
        link = pair.client if at_client else pair.server
        proven = link.lines_proven
        cable = Cable()
        if at_client:
            nursery.start_soon(pair.run_client, cable.client)
        else:
            nursery.start_soon(pair.run_server, cable.server)
        stranger = cable.server if at_client else cable.client
        for piece in sliced(data[1:]):
            stranger.try_send(piece)
        await wait_all_tasks_blocked()
        assert pair.client.received == pair.server.sent
        assert pair.server.received == pair.client.sent
        assert link.lines_proven == proven
        pair.client.send(DATA, b"still here")
        pair.server.send(DATA, b"so am I")
        await wait_all_tasks_blocked()
        assert pair.at_server.payloads == [b"hello", b"still here"]
        assert pair.at_client.payloads == [b"hello", b"so am I"]
        assert len(link.lines) <= 2
        await trio.sleep(20)
        assert len(link.lines) == 1
        nursery.cancel_scope.cancel()


HELLO = connect_request_frame(ConnectRequest(ID))
RETURNING = connect_response_frame(ConnectResponse(ConnectStatus.RETURNING_CLIENT))
REST = sequence_header_frame(1) + catchup_head([30]) + catchup_entry(bytes([1, 1]) * 15)

TARGET = Target(
    take,
    seeds=[
        b"S" + HELLO,
        b"S" + HELLO + REST,
        b"S" + HELLO + sequence_header_frame(0) + catchup_head([]) + packet_frame(bytes(40)),
        b"S" + HELLO + sequence_header_frame(9),
        b"C" + RETURNING + REST,
        b"C" + RETURNING + sequence_header_frame(0) + catchup_head([]) + packet_frame(bytes(40)),
        *(
            b"C" + connect_response_frame(ConnectResponse(status, b"no"))
            for status in ConnectStatus
        ),
    ],
)

if __name__ == "__main__":
    TARGET.run()
