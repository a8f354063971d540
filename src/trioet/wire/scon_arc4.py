"""RC4, for the peers that speak nothing else (description of goscon, 2.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

from trioet.errors import UsageError

NO_ARC4: Final = (
    "this machine's cryptography has no RC4, which goscon's protocol needs; "
    "sealed sessions do without: require them"
)


def arc4(key: bytes) -> Callable[[bytes], bytes]:
    """One direction: each call continues the key stream where the last one ended.

    Raises:
      UsageError: OpenSSL was built, or is configured, without it.
    """
    try:
        return Cipher(ARC4(key), None).encryptor().update
    except UnsupportedAlgorithm:
        raise UsageError(NO_ARC4) from None
