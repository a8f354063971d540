"""One packet as it comes off a line, before and after it is opened: packet, sealing, backed."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.wire.backed import BackedReader
    from trioet.wire.packet import join_body, split_body
    from trioet.wire.sealing import Direction, SealedBox


KEY = b"12345678901234567890123456789012"
HONEST = [
    join_body(number, SealedBox(KEY, Direction.CLIENT_TO_SERVER).seal(1, b"x" * number))
    for number in (0, 1, 40, 253)
]


def take(data: bytes) -> None:
    reader = BackedReader(SealedBox(KEY, Direction.CLIENT_TO_SERVER))
    packet_type, sealed = split_body(data)
    assert join_body(packet_type, sealed) == data
    packet = reader.open(1, data)
    # The type travels outside the seal; nothing else of a packet can be invented.
    assert packet is not None
    assert sealed in {body[2:] for body in HONEST}
    assert reader.received == 0


TARGET = Target(take, seeds=HONEST)

if __name__ == "__main__":
    TARGET.run()
