"""Text from strangers, made fit to be shown on a terminal."""

from __future__ import annotations

import re
from typing import Final

TERMINAL_SEQUENCE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS and their kin
    r"|\x1b[ -/]*[0-~]"
)


def plain(text: str | bytes) -> str:
    """Drop terminal sequences and control characters; fold white space, lines too."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    words = TERMINAL_SEQUENCE.sub("", text).split()
    return "".join(char for char in " ".join(words) if char.isprintable())
