"""Does this machine know a TERM? A shell under an unknown one is unusable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

FALLBACK: Final = "xterm-256color"

SYSTEM_DIRECTORIES: Final = (
    "/etc/terminfo",
    "/lib/terminfo",
    "/usr/share/terminfo",
    "/usr/lib/terminfo",
    "/usr/local/share/terminfo",
)


def known_term(term: str) -> tuple[str, str]:
    """Return the TERM to use and, if it is not the one asked for, a notice for the user.

    Follows ncurses' search order (terminfo(5)): $TERMINFO, ~/.terminfo, the system's.
    """
    if term and "/" not in term and any(_entry_exists(place, term) for place in _places()):
        return term, ""
    return FALLBACK, f"no terminfo for TERM={term!r} on this machine; using {FALLBACK}"


def _places() -> Iterator[str]:
    if own := os.environ.get("TERMINFO"):
        yield own
    yield os.path.expanduser("~/.terminfo")
    yield from SYSTEM_DIRECTORIES


def _entry_exists(directory: str, term: str) -> bool:
    # By first letter, or by its hex code where file names do not tell case (macOS).
    return any(
        os.path.exists(os.path.join(directory, folder, term))
        for folder in (term[0], f"{ord(term[0]):x}")
    )
