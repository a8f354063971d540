"""What an application may say to a port that speaks SOCKS: wire/socks.py."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.wire.forward import Address
    from trioet.wire.reach import Failure
    from trioet.wire.socks import SocksError, SocksServer


MAX_REQUEST = 1024


def read(pieces: Iterable[bytes]) -> tuple[Address | SocksError | None, bytes, bytes]:
    """What was understood, all that was answered, and what is left for the destination."""
    server, answered = SocksServer(), b""
    found: Address | None = None
    try:
        for piece in pieces:
            found = server.feed(piece)
            answered += server.take_reply()
    except SocksError as error:
        return error, answered + error.reply, b""
    if found is not None:
        assert len({server.fail(why) for why in Failure}) in (1, 5)
        return found, answered + server.succeed(), server.rest()
    assert server.fail(Failure.GENERAL) == server.succeed() == b""
    return None, answered, b""


def take(data: bytes) -> None:
    understood, answered, rest = whole = read([data])
    in_slices = read(sliced(data))
    if isinstance(understood, SocksError):
        assert str(in_slices[0]) == str(understood)
        assert in_slices[1] == answered
        raise understood
    assert in_slices == whole
    if understood is None:
        assert len(data) < MAX_REQUEST
        return
    assert data.endswith(rest)
    assert len(data) - len(rest) <= MAX_REQUEST
    assert 0 < understood.port < 65536
    assert 0 < len(understood.host.encode("idna")) <= 255
    assert understood.host.isprintable()


HELLO = b"\x05\x01\x00"

TARGET = Target(
    take,
    seeds=[
        HELLO + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50GET /",
        HELLO + b"\x05\x01\x00\x03\x0bexample.org\x01\xbb",
        HELLO + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x16",
        HELLO + b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x05\x02\x01\x02",
        b"\x04\x01\x00\x50\xc0\x00\x02\x07me\0rest",
        b"\x04\x01\x00\x50\x00\x00\x00\x01me\0example.org\0rest",
        b"\x04\x01\x00\x50\xc0\x00\x02\x07" + b"u" * 513,
        b"\x04\x01\x00\x50\x00\x00\x00\x01\0" + b"n" * 256,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)

if __name__ == "__main__":
    TARGET.run()
