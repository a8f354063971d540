"""Be told when a socket appears, instead of looking for it: inotify(7)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from typing import Final

import trio

_EVENT: Final = struct.Struct("iIII")
"""struct inotify_event: watch, mask, cookie, and how long the name is that follows."""

_APPEARED: Final = 0x80 | 0x100
"""IN_MOVED_TO, IN_CREATE."""

_SELF: Final = 0x400 | 0x800
"""IN_DELETE_SELF, IN_MOVE_SELF: it is another directory that counts now."""

_LOST: Final = 0x2000 | 0x4000 | 0x8000
"""IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED, which come unasked."""

_ONLY_DIRECTORIES: Final = 0x01000000

_MANY: Final = 64 * 1024


async def watch_appearance(path: str, wake: Callable[[], None]) -> None:
    """Call ``wake`` whenever something may have appeared at ``path``, until cancelled.

    Also at once: what comes after that call is told. The directory may come and go. Returns
    where the system does not tell.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        events: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if events < 0:
            return
        try:
            name = _watch(libc, events, path)
            if name is None:
                return
            wake()
            await _wait_for(events, name)
        finally:
            os.close(events)


def _watch(libc: ctypes.CDLL, events: int, path: str) -> bytes | None:
    """Watch the innermost directory that there is on the way to ``path``.

    Returns the name whose appearance in there matters; None if it cannot be watched.
    """
    awaited = path
    while True:
        directory = os.path.dirname(awaited)
        mask = _APPEARED | _SELF | _ONLY_DIRECTORIES
        if libc.inotify_add_watch(events, os.fsencode(directory), mask) < 0:
            if ctypes.get_errno() != errno.ENOENT or directory == awaited:
                return None
            awaited = directory
        elif awaited != path and os.path.exists(awaited):
            awaited = path  # which came while its parent was not watched yet
        else:
            return os.fsencode(os.path.basename(awaited))


async def _wait_for(events: int, name: bytes) -> None:
    while True:
        await trio.lowlevel.wait_readable(events)
        told = os.read(events, _MANY)
        while told:
            _, mask, _, length = _EVENT.unpack_from(told)
            end = _EVENT.size + length
            if mask & (_SELF | _LOST) or told[_EVENT.size : end].rstrip(b"\0") == name:
                return
            told = told[end:]
