"""What the user types, commands to the client among it: client/escapes.py."""

from __future__ import annotations

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.client.escapes import EscapeCommand, EscapeFilter


def joined(parts: list[bytes | EscapeCommand]) -> list[bytes | EscapeCommand]:
    """The same, keys that follow each other in one piece."""
    whole: list[bytes | EscapeCommand] = []
    for part in parts:
        if whole and isinstance(part, bytes) and isinstance(whole[-1], bytes):
            whole[-1] += part
        else:
            whole.append(part)
    return whole


def take(data: bytes) -> None:
    """The first byte is the escape character."""
    escape, typed = data[:1] or None, data[1:]
    whole = EscapeFilter(escape).feed(typed)
    keys = EscapeFilter(escape)
    in_slices = [part for piece in sliced(typed) for part in keys.feed(piece)]
    assert joined(in_slices) == joined(whole)
    assert sum(len(part) for part in whole if isinstance(part, bytes)) <= len(typed)


TARGET = Target(
    take,
    seeds=[b"~ls\r~?~~\r~.", b"\x1d\r\x1d\x1ax\n\x1d\x1d", b"\r\r\r.", b"~~x~\r~"],
    refusals=(),
)

if __name__ == "__main__":
    TARGET.run()
