"""How one proxy passes a resumed connection to another that holds its session.

Both know a key. The caller is the proxy to which the client came, the holder the one with
the session::

    caller                                  holder
    MAGIC, nonce                   ->
                                   <-       nonce, proof that it knows the key
    proof, length, what the client
    said so far                    ->

Then bytes go both ways as they are, until either closes. A proof is a keyed BLAKE2b over
both nonces and who makes it, the caller's also over what it passes on; so none can be used
again. What the client says later is not protected by this: the session's own protocol does
that as far as it does anywhere.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from struct import Struct
from typing import Final

from trioet.errors import FrameError, HandshakeError

MAGIC: Final = b"TRIOSCN1"
NONCE_SIZE: Final = 16
PROOF_SIZE: Final = 32
MAX_KEY: Final = 64
"""Bytes of a key that BLAKE2b can take."""

MAX_PASSED_ON: Final = 128 * 1024
"""Bytes that the client said before it was known where it belongs."""

_LENGTH: Final = Struct(">I")

GREETING_SIZE: Final = len(MAGIC) + NONCE_SIZE
ANSWER_SIZE: Final = NONCE_SIZE + PROOF_SIZE
HEAD_SIZE: Final = PROOF_SIZE + _LENGTH.size


class Caller:
    """The end that passes a connection on. Nonces are random, and used once."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._key = key
        self._nonce = nonce

    def greeting(self) -> bytes:
        """What is sent first."""
        return MAGIC + self._nonce

    def pass_on(self, answer: bytes, said: bytes) -> bytes:
        """Judge the holder's answer (ANSWER_SIZE bytes); return what is sent then.

        Raises:
          HandshakeError: it does not know the key.
        """
        nonces = self._nonce + answer[:NONCE_SIZE]
        if not hmac.compare_digest(answer[NONCE_SIZE:], _proof(self._key, b"holder", nonces)):
            raise HandshakeError("the other proxy does not know our key; is key_file the same?")
        proof = _proof(self._key, b"caller", nonces + said)
        return proof + _LENGTH.pack(len(said)) + said


class Holder:
    """The end that has the session."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._key = key
        self._nonce = nonce
        self._nonces = b""
        self._proof = b""

    def answer(self, greeting: bytes) -> bytes:
        """The answer to a greeting (GREETING_SIZE bytes).

        Raises:
          FrameError: it is none.
        """
        if not greeting.startswith(MAGIC):
            raise FrameError("that is no proxy with a session")
        self._nonces = greeting[len(MAGIC) :] + self._nonce
        return self._nonce + _proof(self._key, b"holder", self._nonces)

    def expect(self, head: bytes) -> int:
        """Read the head of what is passed on (HEAD_SIZE bytes): how many bytes follow.

        Raises:
          FrameError: more than any proxy passes on.
        """
        self._proof = head[:PROOF_SIZE]
        (length,) = _LENGTH.unpack(head[PROOF_SIZE:])
        if length > MAX_PASSED_ON:
            raise FrameError(f"{length} bytes passed on; {MAX_PASSED_ON} at most")
        return int(length)

    def judge(self, said: bytes) -> None:
        """See whether these are the bytes that a proxy with our key passed on.

        Raises:
          HandshakeError: they are not.
        """
        if not hmac.compare_digest(self._proof, _proof(self._key, b"caller", self._nonces + said)):
            raise HandshakeError("the other proxy does not know our key; is key_file the same?")


def _proof(key: bytes, who: bytes, about: bytes) -> bytes:
    return blake2b(about, digest_size=PROOF_SIZE, key=key, person=b"scon-" + who).digest()
