"""What a session's output switches on in the user's terminal: client/modes.py."""

from __future__ import annotations

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.client.modes import MAX_HELD, TerminalModes


def take(data: bytes) -> None:
    if not data:
        return
    utf8, output = bool(data[0] & 1), data[1:]
    whole, in_slices = TerminalModes(utf8=utf8), TerminalModes(utf8=utf8)
    written = b""
    for piece in sliced(output):
        written += in_slices.feed(piece)
        assert output.startswith(written)
    assert len(output) - len(written) <= MAX_HELD
    assert whole.feed(output) + whole.take_held() == written + in_slices.take_held() == output

    assert in_slices.reset_sequence() == whole.reset_sequence()
    assert whole.reset_sequence() == b""


TARGET = Target(
    take,
    seeds=[
        b"\1\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b[2;20r\x1b=",
        b"\1\x1b[>1u\x1b[=5;2u\x1b[<u\x1b[?2004h\x1b7\x1b[31m\x1b(0\x0e\x1b8",
        b"\1\x1b]52;c;aGk=\x07\x1bP1$r0m\x1b\\\x1b[!p\x1bc\xc3\xa9\xe2\x82",
        b"\0\xff\xfe\x1b[5 q\x1b[4h\x1b[?1048h\x1b[?1049l",
    ],
    refusals=(),
)

if __name__ == "__main__":
    TARGET.run()
