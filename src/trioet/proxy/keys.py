"""The key that two proxies share: a line of a file that nobody else may read."""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import Final

from trioet.errors import LocalError, UsageError

SIZE: Final = 32
"""Bytes of a key, written as hexadecimal digits."""

_LINE: Final = re.compile(rb"trioet-key-1 ([0-9a-f]{%d})\n?" % (2 * SIZE))


def new_key(path: str) -> None:
    """Write a new key to a file that only its owner may read.

    Raises:
      LocalError: it cannot be written, or is there already.
    """
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise LocalError(f"{path} is there already; a key is never overwritten") from None
    except OSError as error:
        raise LocalError(f"cannot write a key to {path}: {error.strerror}") from error
    with open(made, "w") as file:
        file.write(f"trioet-key-1 {secrets.token_hex(SIZE)}\n")


def read_key(path: str) -> bytes:
    """Read a key.

    Raises:
      UsageError: there is none, or others may read it too.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(2 * SIZE + 64)
    except OSError as error:
        raise UsageError(
            f"cannot read the key {path}: {error.strerror}; "
            f"`trioet proxy --new-key {path}` makes one, which the other end needs too"
        ) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise UsageError(
            f"{path}: others may read this key; `chmod 600 {path}`, and make a new one"
        )
    found = _LINE.fullmatch(text)
    if found is None:
        raise UsageError(f"{path} holds no key; `trioet proxy --new-key FILE` makes one")
    return bytes.fromhex(found[1].decode())
