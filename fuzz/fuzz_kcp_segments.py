"""What may come to a UDP port that serves KCP: wire/kcp_segments.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.wire.kcp_segments import HEADER, Command, segments


def take(data: bytes) -> None:
    found = segments(data)
    assert found
    assert len({one.conversation for one in found}) == 1
    assert sum(HEADER.size + one.size for one in found) == len(data)


def segment(command: Command, data: bytes = b"") -> bytes:
    return HEADER.pack(7, command, 0, 128, 1000, 0, 0, len(data)) + data


TARGET = Target(
    take,
    seeds=[
        segment(Command.PUSH, b"\x00\x02hi"),
        segment(Command.ACK) + segment(Command.PUSH, b"x"),
        segment(Command.ASK_WINDOW) + segment(Command.TELL_WINDOW),
    ],
)

if __name__ == "__main__":
    TARGET.run()
