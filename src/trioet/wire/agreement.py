"""How two ends that have never met agree on the passkey of one session.

X25519 (RFC 7748) gives a secret that nobody else has; keyed BLAKE2b (RFC 7693) binds it to the
pre-shared key, to the client id and to both public keys. So a passkey is fresh for every session:
no nonce is used twice however often a client comes, and who learns the pre-shared key later
opens nothing that was said before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from nacl.bindings import crypto_box_keypair, crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumError

from trioet.errors import HandshakeError

PUBLIC_KEY_SIZE: Final = 32
PROOF_SIZE: Final = 32

MIN_PSK: Final = 16
"""Bytes of a pre-shared key at least. Its proofs travel in clear, so it can be tried out without
asking anybody: it must be random, no password."""

_CLIENT: Final = b"trioet client"
_SERVER: Final = b"trioet server"
_PASSKEY: Final = b"trioet passkey"


@dataclass(frozen=True)
class KeyPair:
    """Of one introduction, and never of two."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> KeyPair:
        """From the operating system's random numbers."""
        return cls(*crypto_box_keypair())

    @classmethod
    def from_secret(cls, secret: bytes) -> KeyPair:
        """Of 32 bytes that somebody else has chosen: for test vectors."""
        return cls(crypto_scalarmult_base(secret), secret)


class PreSharedKey:
    """What both ends know, or the empty one where TLS says who they are."""

    __slots__ = ("_key",)

    def __init__(self, psk: bytes) -> None:
        """``psk``: any length from MIN_PSK bytes up; empty only inside TLS.

        Raises:
          ValueError: it is shorter.
        """
        if psk and len(psk) < MIN_PSK:
            raise ValueError(f"a pre-shared key has at least {MIN_PSK} bytes, not {len(psk)}")
        self._key = hashlib.blake2b(psk, digest_size=64).digest()

    def __repr__(self) -> str:
        return "<PreSharedKey>"

    def client_proof(self, client_id: bytes, client_public: bytes) -> bytes:
        """That the client holds the key. Anyone may repeat it, and gains nothing by it."""
        return self._mac(_CLIENT, client_id, client_public)

    def server_proof(self, client_id: bytes, client_public: bytes, server_public: bytes) -> bytes:
        """That the server holds the key, and answers this client's introduction."""
        return self._mac(_SERVER, client_id, client_public, server_public)

    def passkey(
        self,
        own: KeyPair,
        peer_public: bytes,
        *,
        client_id: bytes,
        client_public: bytes,
        server_public: bytes,
    ) -> bytes:
        """The 32 bytes that seal the session.

        Raises:
          HandshakeError: the peer's is no public key that an honest peer has.
        """
        if len(peer_public) != PUBLIC_KEY_SIZE:
            raise HandshakeError(f"a public key of {len(peer_public)} bytes")
        try:
            shared = crypto_scalarmult(own.secret, peer_public)
        except (CryptoError, SodiumError):
            # Of small order: the secret would be known to everybody (RFC 7748, 6.1).
            raise HandshakeError("a public key that makes no secret") from None
        return self._mac(_PASSKEY, shared, client_id, client_public, server_public)

    def _mac(self, purpose: bytes, *parts: bytes) -> bytes:
        mac = hashlib.blake2b(key=self._key, digest_size=PROOF_SIZE, person=purpose)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big") + part)
        return mac.digest()
