"""The keys of goscon's Stable Connection Protocol: an exchange in 64 bits, and two checksums.

None of this withstands an attacker; it is what real clients and servers speak (description of
goscon, 2.3 to 2.6). docs/scon.md says what it is worth, and what trioets do instead among
themselves (:mod:`trioet.wire.scon_sealed`).
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import Final

from trioet.errors import HandshakeError

PRIME: Final = 2**64 - 59
"""The largest prime below 2^64 (2.3)."""

GENERATOR: Final = 5
PRIVATE_BITS: Final = 64

_WORD: Final = Struct("<Q")
_TWO_WORDS: Final = Struct("<QQ")
_MASK: Final = 2**32 - 1


def public_key(private: int) -> int:
    """The public number of a private one, which is 1 to 2^64 - 1."""
    return pow(GENERATOR, private, PRIME)


def shared_secret(private: int, public: int) -> int:
    """What both ends compute.

    Raises:
      HandshakeError: the peer's number makes the secret 0, whatever ours is.
    """
    if public % PRIME == 0:
        raise HandshakeError(f"a public key of {public:#x} makes no secret")
    return pow(public, private, PRIME)


def hashkey(text: bytes) -> int:
    """Two hashes of 32 bits side by side (2.4)."""
    low, high = 5381, 1315423911
    for byte in text:
        low = (low + (low << 5) + byte) & _MASK
        high ^= ((high << 5) + byte + (high >> 2)) & _MASK
    return high << 32 | low


def hmac64_md5(x: int, y: int) -> int:
    """The code over two numbers of 64 bits, as all versions since 2017 compute it (2.5)."""
    digest = hashlib.md5(_TWO_WORDS.pack(x, y) * 3, usedforsecurity=False).digest()
    first, second = _TWO_WORDS.unpack(digest)
    return int(first ^ second)


def resume_code(text: bytes, secret: int) -> bytes:
    """The 8 bytes that prove that a request to resume comes from who began the session."""
    return _WORD.pack(hmac64_md5(hashkey(text), secret))


def stream_key(secret: int) -> bytes:
    """The key of the stream cipher, the same in both directions (2.6)."""
    return b"".join(_WORD.pack(hmac64_md5(secret, number)) for number in range(4))
