"""A QR code for a terminal: two rows of it in each line, as half blocks."""

from __future__ import annotations

BORDER = 2
"""Modules of light around it. The standard wants four; every camera is content with two."""

BLOCKS = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""(upper, lower) is dark: light is drawn, for terminals are dark."""

PLAIN = "\x1b[97;40m"
"""White on black, whatever the terminal's colours are: a camera wants contrast."""


def qr_lines(text: str) -> list[str]:
    """The lines that show ``text``, without colours; they are as wide as twice their number."""
    import segno

    code = segno.make(text, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    return [
        "".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def qr_text(text: str, columns: int, rows: int) -> str:
    """The code, ready for a terminal of that size; empty where it does not fit."""
    lines = qr_lines(text)
    if len(lines) > rows or len(lines[0]) > columns:
        return ""
    return "".join(f"{PLAIN}{line}\x1b[m\n" for line in lines)
