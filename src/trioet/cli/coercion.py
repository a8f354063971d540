"""LC_CTYPE as this process was given it, and not as Python has made it.

Under the C locale Python sets it to C.UTF-8, for itself and whatever it starts (PEP 538). In the
environment of a session that would pass for the user's choice, and override a LANG that is set
there; and on a server as well, by SendEnv. Standard library only.
"""

from __future__ import annotations

import os
import sys

INVENTED = ("C.UTF-8", "C.utf8", "UTF-8")
"""Python takes the first of them that the system knows."""


def undo_coercion() -> None:
    """Take back what Python has done to the environment, before anybody gets it."""
    if os.environ.get("LC_CTYPE") not in INVENTED:
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        # Not on Linux. Where Python found the C locale, it has chosen UTF-8, too (PEP 540).
        if sys.flags.utf8_mode:
            del os.environ["LC_CTYPE"]
        return
    del os.environ["LC_CTYPE"]
    for entry in given:
        if entry.startswith(b"LC_CTYPE="):
            os.environb[b"LC_CTYPE"] = entry.partition(b"=")[2]
