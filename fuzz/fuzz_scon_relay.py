"""What may come to the port at which proxies pass connections on: wire/scon_relay.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.wire.scon_relay import (
        GREETING_SIZE,
        HEAD_SIZE,
        MAGIC,
        MAX_PASSED_ON,
        NONCE_SIZE,
        Caller,
        Holder,
    )

KEY = b"0123456789abcdef"
NONCE = bytes(NONCE_SIZE)


def take(data: bytes) -> None:
    """A greeting, a head and what follows, to a holder whose nonce is always the same."""
    holder = Holder(KEY, NONCE)
    greeting, rest = data[:GREETING_SIZE], data[GREETING_SIZE:]
    if len(greeting) < GREETING_SIZE or len(rest) < HEAD_SIZE:
        return
    answer = holder.answer(greeting)
    length = holder.expect(rest[:HEAD_SIZE])
    assert length <= MAX_PASSED_ON
    said = rest[HEAD_SIZE:][:length]
    holder.judge(said)
    caller = Caller(KEY, greeting[len(MAGIC) :])
    assert caller.greeting() == greeting
    assert caller.pass_on(answer, said)[:HEAD_SIZE][:-4] == rest[: HEAD_SIZE - 4]


def whole(said: bytes) -> bytes:
    """All that a caller says."""
    caller = Caller(KEY, b"n" * NONCE_SIZE)
    return caller.greeting() + caller.pass_on(Holder(KEY, NONCE).answer(caller.greeting()), said)


TARGET = Target(
    take,
    seeds=[whole(b""), whole(b"\x00\x101\n1\n0\nxxxxxxxxxx"), MAGIC + bytes(60), b"GET / HTTP/1.1"],
)

if __name__ == "__main__":
    TARGET.run()
