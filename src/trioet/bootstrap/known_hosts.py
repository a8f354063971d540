"""Remembering a host's key, in the file and format of OpenSSH."""

from __future__ import annotations

import hmac
import os
import secrets
from base64 import b64encode
from pathlib import Path
from typing import Final

from trioet.errors import StepFailed

SSH_PORT: Final = 22
SALT_LENGTH: Final = 20


def known_host_name(host: str, port: int) -> str:
    """How known_hosts calls a host."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def hashed_name(name: str, salt: bytes | None = None) -> str:
    """The name made unreadable, as HashKnownHosts wants it."""
    salt = secrets.token_bytes(SALT_LENGTH) if salt is None else salt
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{b64encode(salt).decode()}|{b64encode(digest).decode()}"


def remember_host(path: Path, name: str, public_key: str) -> None:
    """Append a host's key to the file, which need not exist yet.

    Raises:
      StepFailed: it cannot be written.
    """
    line = f"{name} {public_key.strip()}\n".encode()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            unfinished = end > 0 and os.pread(fd, 1, end - 1) != b"\n"
            file.write(b"\n" + line if unfinished else line)
    except OSError as error:
        what = f"the host's key cannot be remembered in {path}: {error.strerror}"
        raise StepFailed("ssh", what, "make it writable, or set UserKnownHostsFile") from error
