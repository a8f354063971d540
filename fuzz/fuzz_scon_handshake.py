"""What a stranger may say first to an SCP server, or answer to its client:
wire/scon_handshake.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError
    from trioet.wire.scon_handshake import (
        MAX_FRAME,
        FrameReader,
        NewAnswer,
        NewRequest,
        ResumeAnswer,
        ResumeRequest,
        frame,
        parse_new_answer,
        parse_request,
        parse_resume_answer,
    )

PARSERS: list[Callable[[bytes], object]] = [parse_request, parse_new_answer, parse_resume_answer]


def read(pieces: Iterable[bytes]) -> tuple[bytes, bytes] | None:
    """The text, and all that came behind it."""
    reader, text, rest = FrameReader(), None, b""
    for piece in pieces:
        if text is not None:
            rest += piece
            continue
        text = reader.feed(piece)
        if text is not None:
            rest = reader.rest()
    return None if text is None else (text, rest)


def take(data: bytes) -> None:
    if not data:
        return
    parse, data = PARSERS[data[0] % len(PARSERS)], data[1:]
    try:
        whole = read([data])
    except PeerError:
        whole = None
    try:
        in_slices = read(sliced(data))
    except PeerError:
        in_slices = None
    assert in_slices == whole
    text, _ = whole or (data[:MAX_FRAME], b"")
    found = parse(text)
    assert isinstance(found, NewRequest | ResumeRequest | NewAnswer | ResumeAnswer)
    assert parse(found.text()) == found


new = b"0\nBQAAAAAAAAA=\ntest1\n0"
resume = b"1\n1\n341549032\nWPxO5ffKSaY="

TARGET = Target(
    take,
    seeds=[
        b"\0" + frame(new) + b"stream",
        b"\0" + frame(new + b"\ntrioet1 BQAAAAAAAAA=\n"),
        b"\0" + frame(b"0\nBQAAAAAAAAA="),
        b"\0" + frame(resume + b"\n"),
        b"\0" + new + b"\n",
        b"\0GET / HTTP/1.1\r\n\r\n",
        b"\1" + frame(b"1\nGQAAAAAAAAA="),
        b"\1" + frame(b"1\nGQAAAAAAAAA=\ntrioet1 BQAAAAAAAAA= BQAAAAAAAAA="),
        b"\2" + frame(b"10\n200") + b"stream",
        b"\2" + frame(b"0\n406 gone"),
        b"\2" + frame(b"10\n200\nBQAAAAAAAAA="),
    ],
)

if __name__ == "__main__":
    TARGET.run()
