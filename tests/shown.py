"""What a terminal was sent, without what our client draws of its own accord."""

from __future__ import annotations

import re

_STATUS_LINE = re.compile(
    rb"(?:\x1bM\x1bD\x1b7.*?\x1b8\x1b\[A)?\x1bD\x1b\[A\x1b7.*?\x1b8", re.DOTALL
)
"""Shown, and taken away, while the client waits for the other end: on a busy machine also where
a test means to be quick."""


def output_of(shown: bytes) -> bytes:
    """The output of the programs on the far side."""
    return _STATUS_LINE.sub(b"", shown)


def numbers_of(shown: bytes) -> list[int]:
    """The lines that are numbers, as those of seq(1)."""
    lines = output_of(shown).replace(b"\r", b"").split(b"\n")
    return [int(line) for line in lines if line.isdigit()]
