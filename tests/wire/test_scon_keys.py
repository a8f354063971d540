from __future__ import annotations

from struct import pack

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from recorded_scon import vectors
from trioet.errors import HandshakeError, UsageError
from trioet.wire import scon_arc4
from trioet.wire.scon_arc4 import arc4
from trioet.wire.scon_keys import (
    PRIME,
    hashkey,
    hmac64_md5,
    public_key,
    resume_code,
    shared_secret,
    stream_key,
)

VECTORS = vectors()
PRIVATE = st.integers(1, 2**64 - 1)


@pytest.mark.parametrize("vector", VECTORS["hashkey"], ids=lambda vector: vector["in_hex"][:16])
def test_hashkey_is_that_of_goscon(vector: dict[str, str]) -> None:
    found = hashkey(bytes.fromhex(vector["in_hex"]))
    assert found == int(vector["hashkey"], 16)
    assert pack("<Q", found).hex() == vector["hashkey_le_hex"]


@pytest.mark.parametrize("vector", VECTORS["hmac"], ids=lambda vector: vector["x"])
def test_hmac64_md5_is_that_of_goscon(vector: dict[str, str]) -> None:
    assert hmac64_md5(int(vector["x"], 16), int(vector["y"], 16)) == int(vector["hmac64_md5"], 16)


@pytest.mark.parametrize("vector", VECTORS["sessions"], ids=lambda vector: vector["a"])
def test_the_exchange_and_what_follows_from_it_are_those_of_goscon(vector: dict[str, str]) -> None:
    ours, theirs = int(vector["a"], 16), int(vector["b"], 16)
    assert public_key(ours) == int(vector["pa"], 16)
    secret = shared_secret(ours, int(vector["pb"], 16))
    assert secret == shared_secret(theirs, int(vector["pa"], 16)) == int(vector["secret"], 16)
    assert hmac64_md5(ours, theirs) == int(vector["hmac_a_b"], 16)
    key = stream_key(secret)
    assert key.hex() == vector["rc4key"]
    assert arc4(key)(bytes(32)).hex() == vector["keystream32"]


@given(PRIVATE, PRIVATE)
def test_both_ends_come_to_the_same_secret(ours: int, theirs: int) -> None:
    secret = shared_secret(ours, public_key(theirs))
    assert secret == shared_secret(theirs, public_key(ours)) != 0


@pytest.mark.parametrize("public", [0, PRIME])
def test_a_key_that_makes_no_secret_is_refused(public: int) -> None:
    with pytest.raises(HandshakeError, match="makes no secret"):
        shared_secret(3, public)


def test_a_key_above_the_prime_is_that_much_above_zero() -> None:
    assert shared_secret(3, PRIME + 5) == shared_secret(3, 5)


def test_the_key_stream_goes_on_from_call_to_call() -> None:
    whole, pieces = arc4(b"k" * 32), arc4(b"k" * 32)
    assert whole(b"hello world") == pieces(b"hello") + pieces(b" world")


def test_a_resume_is_proven_by_eight_bytes() -> None:
    assert len(resume_code(b"1\n1\n0\n", 0x19)) == 8
    assert resume_code(b"1\n1\n0\n", 0x19) != resume_code(b"1\n2\n0\n", 0x19)


def test_openssl_without_rc4_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise UnsupportedAlgorithm("RC4 is not there")

    monkeypatch.setattr(scon_arc4, "Cipher", refuse)
    with pytest.raises(UsageError, match="has no RC4"):
        arc4(bytes(32))
