"""The opening of a connection, as read by either side: wire/handshake.py."""

from __future__ import annotations

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError
    from trioet.wire.handshake import (
        Event,
        Handshake,
        State,
        catchup_entry,
        catchup_head,
        connect_request_frame,
        connect_response_frame,
        sequence_header_frame,
    )
    from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus


STATUSES = list(ConnectStatus)


def read(pieces: list[bytes], handshake: Handshake, verdict: ConnectStatus) -> list[Event | bytes]:
    """Everything that a side makes of the pieces; what is left over comes last."""
    seen: list[Event | bytes] = []
    for piece in pieces:
        seen += handshake.feed(piece)
        if handshake.state is State.VERDICT:
            seen += handshake.decide(verdict)
    if handshake.state is State.PACKETS:
        seen.append(handshake.rest())
    return seen


def take(data: bytes) -> None:
    if not data:
        return
    side = Handshake.server if data[0] & 1 else Handshake.client
    verdict = STATUSES[data[0] >> 1 & 3]
    try:
        whole = read([data[1:]], side(), verdict)
    except PeerError:
        whole = []
    in_slices = read(list(sliced(data[1:])), side(), verdict)
    assert in_slices == whole


hello = connect_request_frame(ConnectRequest(b"1234567890123456"))
returning = connect_response_frame(ConnectResponse(ConnectStatus.RETURNING_CLIENT))
resume = sequence_header_frame(3) + catchup_head([18, 200]) + catchup_entry(b"x" * 18)
resume += catchup_entry(b"y" * 200) + b"packets"

TARGET = Target(
    take,
    seeds=[
        *(bytes([1 | number << 1]) + hello + resume for number in range(len(STATUSES))),
        b"\0" + returning + resume,
        *(b"\0" + connect_response_frame(ConnectResponse(status, b"why")) for status in STATUSES),
    ],
)

if __name__ == "__main__":
    TARGET.run()
