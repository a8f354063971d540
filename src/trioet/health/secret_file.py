"""A secret in a file of its own, which strangers cannot read."""

from __future__ import annotations

import os
from typing import Final

from trioet.errors import UsageError

STRANGERS: Final = 0o027
"""Whoever may read it, or write it as one of its group. A group may read: systemd hands
credentials to a service like that, and administrators share them."""


def read_secret(path: str, least: int, most: int) -> bytes:
    """Read ``least`` to ``most`` bytes; blanks and newlines around them do not count.

    Raises:
      UsageError: the file cannot be read, strangers can read it, or it is too short or long.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & STRANGERS:
                raise UsageError(f"{path}: others can read or change this key; chmod 600 {path}")
            secret = file.read(2 * most).strip()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if not least <= len(secret) <= most:
        raise UsageError(
            f"{path}: a key is {least} to {most} bytes long; openssl rand -hex 32 makes one"
        )
    return secret
