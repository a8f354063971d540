"""What a jumphost passes on: wire/sense.py."""

from __future__ import annotations

from contextlib import suppress

from harness import Target, instrumented

with instrumented():
    from trioet.errors import PeerError
    from trioet.wire.messages import (
        encode_count,
        encode_stderr,
        encode_terminal_buffer,
    )
    from trioet.wire.packet import Packet, PacketType
    from trioet.wire.sense import OF_CLIENTS, Sense

FEATURES = [*OF_CLIENTS, "telepathy"]


def take(data: bytes) -> None:
    """The first byte says what was agreed on, and who speaks; the second is the type."""
    if len(data) < 2:
        return
    features = [name for bit, name in enumerate(FEATURES) if data[0] >> bit & 1]
    of_client = bool(data[0] >> 7)
    packet = Packet(data[1], data[2:])
    Sense(features, of_client=of_client).check(packet)
    assert packet.type not in (PacketType.INITIAL_PAYLOAD, PacketType.INITIAL_RESPONSE)
    if not features:
        assert packet.type < PacketType.SESSION_OVER, "a real peer would abort"
        with suppress(PeerError):
            Sense(["channels"], of_client=of_client).check(packet)


SAMPLES = [
    Packet(PacketType.KEEP_ALIVE, encode_count(2**40)),
    Packet(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(b"ls\n")),
    Packet(PacketType.STDERR, encode_stderr(b"no such file\n")),
    Packet(PacketType.PORT_FORWARD_DATA, b"\x08\x01\x10\x02\x1a\x04data"),
    Packet(99, b"?"),
]

TARGET = Target(
    take,
    seeds=[
        bytes([agreed, packet.type]) + packet.payload
        for packet in SAMPLES
        for agreed in (0x00, 0x8F, 0x1F)
    ],
)

if __name__ == "__main__":
    TARGET.run()
