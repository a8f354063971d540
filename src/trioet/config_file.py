"""Reading a configuration file, of whatever form."""

from __future__ import annotations

import os
from typing import Final

from trioet.errors import UsageError

MAX_FILE: Final = 256 * 1024
"""Bytes."""


def read_text(path: str) -> str:
    """Return what is in the file; ``~`` is the user's home.

    Raises:
      UsageError: names the file, what is wrong with it and what would be right.
    """
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise UsageError(f"{path}: more than {MAX_FILE} bytes; is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from error
