"""How one proxy proves to another that it may pass a connection on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.errors import FrameError, HandshakeError
from trioet.wire.scon_relay import (
    ANSWER_SIZE,
    GREETING_SIZE,
    HEAD_SIZE,
    MAX_KEY,
    MAX_PASSED_ON,
    NONCE_SIZE,
    Caller,
    Holder,
)

KEY = b"k" * 32
NONCES = st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE)
KEYS = st.binary(min_size=1, max_size=MAX_KEY)


def introduced(caller: Caller, holder: Holder, said: bytes) -> bytes:
    """What the holder believes that the client said."""
    greeting = caller.greeting()
    assert len(greeting) == GREETING_SIZE
    answer = holder.answer(greeting)
    assert len(answer) == ANSWER_SIZE
    passed = caller.pass_on(answer, said)
    length = holder.expect(passed[:HEAD_SIZE])
    told = passed[HEAD_SIZE:]
    assert len(told) == length
    holder.judge(told)
    return told


def hear(holder: Holder, passed: bytes) -> None:
    """What a holder does with all that comes after its answer, and then the end."""
    length = holder.expect(passed[:HEAD_SIZE])
    told = passed[HEAD_SIZE:]
    if len(told) < length:
        raise FrameError("closed before all had come")
    holder.judge(told[:length])


@given(KEYS, NONCES, NONCES, st.binary(max_size=300))
def test_who_knows_the_key_passes_on_what_the_client_said(
    key: bytes, one: bytes, other: bytes, said: bytes
) -> None:
    assert introduced(Caller(key, one), Holder(key, other), said) == said


@given(NONCES, NONCES, KEYS.filter(lambda key: key.rstrip(b"\0") != KEY))
def test_a_holder_with_another_key_is_given_nothing(one: bytes, other: bytes, key: bytes) -> None:
    caller = Caller(KEY, one)

    with pytest.raises(HandshakeError, match="key_file"):
        caller.pass_on(Holder(key, other).answer(caller.greeting()), b"secret")


@given(NONCES, NONCES, st.integers(0, 10_000), st.integers(1, 255))
def test_what_was_changed_on_its_way_is_refused(
    one: bytes, other: bytes, at: int, change: int
) -> None:
    caller, holder = Caller(KEY, one), Holder(KEY, other)
    passed = bytearray(caller.pass_on(holder.answer(caller.greeting()), b"1\n1\n0\nxxxx"))
    at %= len(passed)
    passed[at] ^= change

    with pytest.raises((HandshakeError, FrameError)):
        hear(holder, bytes(passed))


def test_what_was_recorded_is_refused_by_the_next_holder() -> None:
    caller = Caller(KEY, bytes(NONCE_SIZE))
    passed = caller.pass_on(Holder(KEY, b"1" * NONCE_SIZE).answer(caller.greeting()), b"said")
    holder = Holder(KEY, b"2" * NONCE_SIZE)
    holder.answer(caller.greeting())
    holder.expect(passed[:HEAD_SIZE])

    with pytest.raises(HandshakeError, match="key_file"):
        holder.judge(passed[HEAD_SIZE:])


def test_a_holders_own_proof_is_no_callers() -> None:
    holder = Holder(KEY, b"1" * NONCE_SIZE)
    answer = holder.answer(Caller(KEY, b"2" * NONCE_SIZE).greeting())
    holder.expect(answer[NONCE_SIZE:] + bytes(4))

    with pytest.raises(HandshakeError):
        holder.judge(b"")


def test_who_is_no_proxy_is_told_apart() -> None:
    with pytest.raises(FrameError, match="no proxy"):
        Holder(KEY, bytes(NONCE_SIZE)).answer(b"GET / HTTP/1.1\r\nHost: x"[:GREETING_SIZE])


def test_more_than_a_client_can_have_said_is_refused() -> None:
    holder = Holder(KEY, bytes(NONCE_SIZE))

    assert holder.expect(bytes(32) + MAX_PASSED_ON.to_bytes(4, "big")) == MAX_PASSED_ON
    with pytest.raises(FrameError, match="at most"):
        holder.expect(bytes(32) + (MAX_PASSED_ON + 1).to_bytes(4, "big"))
