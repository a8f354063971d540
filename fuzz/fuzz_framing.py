"""Packets cut out of a byte stream: wire/framing.py."""

from __future__ import annotations

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError
    from trioet.wire.framing import MIN_PACKET, PacketSplitter, packet_frame


MAX_PACKET = 64


def take(data: bytes) -> None:
    in_slices: list[bytes] = []
    splitter = PacketSplitter(max_packet=MAX_PACKET)
    try:
        for piece in sliced(data):
            in_slices += splitter.feed(piece)
    except PeerError:
        in_slices.append(b"refused")
    try:
        whole = PacketSplitter(max_packet=MAX_PACKET).feed(data)
    except PeerError:
        # What came before the refusal is lost with the feed that was refused.
        assert in_slices[-1] == b"refused"
        raise
    assert in_slices == whole
    assert b"".join(map(packet_frame, whole)) == data[: sum(4 + len(body) for body in whole)]


TARGET = Target(
    take, seeds=[packet_frame(b"x" * MIN_PACKET) * 3, packet_frame(b"y" * MAX_PACKET), b"\xff" * 4]
)

if __name__ == "__main__":
    TARGET.run()
