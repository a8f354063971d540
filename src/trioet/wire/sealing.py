"""Sealing and opening payloads: XSalsa20-Poly1305 under a counting nonce.

The key is the 32 ASCII bytes of the passkey. The nonce of a packet is its ordinal (the
first is 1), little-endian in bytes 0 to 22, with the direction in byte 23 (Eternal
Terminal specification 1.6). So it depends on nothing but the ordinal, and any packet can
be opened on its own: that is what lets a returning connection prove itself before it
replaces anything.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from trioet.errors import ForgedPacket

KEY_SIZE: Final = 32
TAG_SIZE: Final = 16
_COUNTER_SIZE: Final = 23


class Direction(IntEnum):
    """Who sealed a packet; the last byte of its nonce."""

    CLIENT_TO_SERVER = 0
    SERVER_TO_CLIENT = 1

    @property
    def opposite(self) -> Direction:
        return Direction(1 - self)


class SealedBox:
    """One direction of a session: seals, or opens, what has a given ordinal.

    Holds the key and nothing else. The same ordinal must never be sealed twice with
    different contents; :class:`trioet.wire.backed.BackedWriter` sees to that.
    """

    __slots__ = ("_key", "_tail")

    def __init__(self, passkey: bytes, direction: Direction) -> None:
        if len(passkey) != KEY_SIZE:
            raise ValueError(f"a passkey has {KEY_SIZE} bytes, not {len(passkey)}")
        self._key = passkey
        self._tail = bytes((direction,))

    def __repr__(self) -> str:
        return f"<SealedBox direction={self._tail[0]}>"

    def seal(self, ordinal: int, payload: bytes) -> bytes:
        """Return tag and ciphertext of ``payload`` as packet number ``ordinal``."""
        return crypto_secretbox(
            payload, ordinal.to_bytes(_COUNTER_SIZE, "little") + self._tail, self._key
        )

    def open(self, ordinal: int, sealed: bytes) -> bytes:
        """Return the payload of packet number ``ordinal``.

        Raises:
          ForgedPacket: it was not sealed under this key, direction and ordinal.
        """
        try:
            return crypto_secretbox_open(
                sealed, ordinal.to_bytes(_COUNTER_SIZE, "little") + self._tail, self._key
            )
        except (CryptoError, ValueError):
            # PyNaCl says "Decryption failed" for a bad tag, ValueError for < 16 bytes.
            raise ForgedPacket(f"packet {ordinal} does not open under the session's key") from None
