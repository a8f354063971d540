"""Keep a process that holds passkeys to itself."""

from __future__ import annotations

import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""linux/prctl.h"""


def keep_private() -> None:
    """Have this process leave no core file, and let no other of the same user look into it.

    prctl(2), PR_SET_DUMPABLE: programs that it starts are as they always are. Elsewhere
    than on Linux this does nothing.
    """
    if sys.platform == "linux":
        import ctypes  # trio has loaded it already

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
