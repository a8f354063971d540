"""What a stranger may say in place of sealed records, or of the lines that agree on them:
wire/scon_sealed.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError
    from trioet.wire.scon_handshake import NewAnswer, NewRequest
    from trioet.wire.scon_sealed import Kind, SealedKeys, accept, conclude, offer
    from trioet.wire.sealing import Direction

OURS, THEIRS = b"c" * 32, b"s" * 32
UP = Direction.CLIENT_TO_SERVER
REQUEST = NewRequest(5, b"target", 0, offer(OURS))
ANSWER, _ = accept(REQUEST, NewAnswer(7, 25), THEIRS, b"")


def read(pieces: Iterable[bytes]) -> tuple[bytes, int, int, bool, bool]:
    """What the records bring, and what they say, until one is not the peer's."""
    inward, plain = SealedKeys(bytes(32)).inward(UP), b""
    try:
        for piece in pieces:
            plain += inward.open(piece)
    except PeerError:
        inward.restart()
        plain += inward.open(b"")
    return plain, inward.received, inward.acknowledged, inward.ended, inward.over


def take(data: bytes) -> None:
    if not data:
        return
    kind, data = data[0] % 3, data[1:]
    if kind == 0:
        assert read([data]) == read(sliced(data))
        return
    line = data.replace(b"\n", b"")
    if kind == 1:
        accept(replace(REQUEST, sealing=line), NewAnswer(7, 25), THEIRS, b"")
        return
    conclude(REQUEST, replace(ANSWER, sealing=line), OURS, b"")
    assert line.split(b" ")[1:] == ANSWER.sealing.split(b" ")[1:]


said = SealedKeys(bytes(32)).outward(UP)
records = said.seal(b"hello") + said.ack(300) + said.record(Kind.END) + said.record(Kind.OVER)

TARGET = Target(
    take,
    seeds=[
        b"\0" + records,
        b"\0" + records[:40] + b"x" + records[41:],
        b"\0" + b"\xff\xff",
        b"\1" + REQUEST.sealing,
        b"\1" + b"trioet1 " + b"A" * 43 + b"=",
        b"\2" + ANSWER.sealing,
        b"\2" + REQUEST.sealing,
    ],
)

if __name__ == "__main__":
    TARGET.run()
