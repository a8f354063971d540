"""Keep the user's own shell start-up files out of the tests.

Sessions run the login shell of whoever runs the tests. What its start-up files do is not
ours: some take half a second, or a lock that a shell which is killed leaves behind for all
that follow. A mount namespace of our own covers them, which takes root; as anybody else
they are what they are.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path
from typing import Final

STARTUP_FILES: Final = (
    *(".profile", ".bash_profile", ".bash_login", ".bashrc"),
    *(".zshenv", ".zprofile", ".zshrc", ".zlogin"),
    *(".cshrc", ".tcshrc", ".login", ".config/fish/config.fish"),
)

_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC_PRIVATE: Final = 0x4000 | 1 << 18
"""linux/sched.h, linux/mount.h"""


def enter() -> None:
    """Cover them, for this process and all that it starts."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    covered = [path for name in STARTUP_FILES if (path := home / name).is_file()]
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or not covered or libc.unshare(_CLONE_NEWNS) != 0:
        return
    _mount(libc, None, "/", _MS_REC_PRIVATE)
    for path in covered:
        _mount(libc, "/dev/null", str(path), _MS_BIND)


def _mount(libc: ctypes.CDLL, source: str | None, target: str, flags: int) -> None:
    from_where = source.encode() if source else None
    if libc.mount(from_where, target.encode(), None, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
