"""A QR code for a terminal: two rows of it in each line, as half blocks."""

from __future__ import annotations

BORDERS = (2, 1)
"""Modules of light around it, where there is room, and where there is little. The standard wants
four; cameras are content with less."""

BLOCKS = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""(upper, lower) is dark: light is drawn, for terminals are dark."""

PLAIN = "\x1b[38;5;231;48;5;16m"
"""White on black, of the 256 colours, which themes leave alone: a camera wants contrast."""


def qr_lines(text: str, border: int = BORDERS[0]) -> list[str]:
    """The lines that show ``text``, without colours; they are as wide as twice their number."""
    import segno

    code = segno.make(text, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=border)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    return [
        "".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def qr_text(text: str, columns: int, rows: int) -> list[str]:
    """The lines of the code, ready for a terminal with so much room; none where it does not fit."""
    for border in BORDERS:
        lines = qr_lines(text, border)
        if len(lines) <= rows and len(lines[0]) <= columns:
            return [f"{PLAIN}{line}\x1b[m" for line in lines]
    return []
