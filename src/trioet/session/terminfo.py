"""Does this machine know a TERM? A shell under an unknown one is unusable."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

FALLBACK: Final = "xterm-256color"

SYSTEM_DIRECTORIES: Final = (
    "/etc/terminfo",
    "/lib/terminfo",
    "/usr/share/terminfo",
    "/usr/lib/terminfo",
    "/usr/local/share/terminfo",
)


def known_term(term: str, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Return the TERM to use and, if it is not the one asked for, a notice for the user.

    Follows ncurses' search order (terminfo(5)) in the environment of who is to use it: $TERMINFO,
    ~/.terminfo, $TERMINFO_DIRS, the system's.
    """
    places = _places(environment)
    if term and "/" not in term and any(_entry_exists(place, term) for place in places):
        return term, ""
    if term == FALLBACK:
        return term, ""  # there may be no terminfo at all, and nothing better to use
    return FALLBACK, f"no terminfo for TERM={term!r} on this machine; using {FALLBACK}"


def _places(environment: Mapping[bytes, bytes]) -> Iterator[str]:
    def said(name: bytes) -> str:
        return os.fsdecode(environment.get(name, b""))

    if own := said(b"TERMINFO"):
        yield own
    if home := said(b"HOME"):
        yield os.path.join(home, ".terminfo")
    # An empty one of these means the system's, which come in any case.
    yield from filter(None, said(b"TERMINFO_DIRS").split(":"))
    yield from SYSTEM_DIRECTORIES


def _entry_exists(directory: str, term: str) -> bool:
    # By first letter, or by its hex code where file names do not tell case (macOS).
    return any(
        os.path.exists(os.path.join(directory, folder, term))
        for folder in (term[0], f"{ord(term[0]):x}")
    )
