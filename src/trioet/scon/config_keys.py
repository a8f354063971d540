"""How one value of a configuration is read: what it may be, and what is said if it is not.

Each function here makes a reader; a reader returns the value or raises ValueError with a
sentence for people. The names of the keys, and where they stand, are config.py's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from trioet.errors import UsageError
from trioet.health.place import parse_place

Reader: TypeAlias = Callable[[object], Any]

MAX_TEXT: Final = 1024
MAX_PATTERN: Final = 256

_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([0-9A-Za-z._-]*)):([0-9]{1,5})")
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def seconds(least: float, most: float, *, never: bool = False) -> Reader:
    """A time, as a number of seconds; with ``never``, 0 is one too."""

    def read(value: object) -> float:
        number = value if isinstance(value, (int, float)) else -1
        if not isinstance(value, bool) and (least <= number <= most or (never and number == 0)):
            return float(number)
        or_never = ", or 0 for never" if never else ""
        raise ValueError(f"a number of seconds from {least:g} to {most:g} belongs here{or_never}")

    return read


def whole(least: int, most: int) -> Reader:
    """A whole number."""

    def read(value: object) -> int:
        if type(value) is int and least <= value <= most:
            return value
        raise ValueError(f"a whole number from {least} to {most} belongs here")

    return read


def size(least: int, most: int) -> Reader:
    """An amount of memory: bytes, or with a K, M or G behind, like "16M"."""

    def read(value: object) -> int:
        text = "" if isinstance(value, bool) else str(value).strip().upper()
        match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]?)(?:I?B)?", text)
        if match is None or not least <= (found := int(match[1]) * _UNITS[match[2]]) <= most:
            raise ValueError(f'bytes from {least} to {most} belong here, as a number or like "16M"')
        return found

    return read


def flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false belongs here, without quotes")


def text(value: object) -> str:
    """Any short text."""
    if isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value:
        return value
    raise ValueError(f"a text of at most {MAX_TEXT} characters belongs here, in quotes")


def one_of(*words: str) -> Reader:
    """One of these words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"one of these belongs here: {', '.join(map(repr, words))}")

    return read


def path(value: object) -> str:
    """An absolute path, or nothing."""
    if value == "" or (isinstance(value, str) and os.path.isabs(value) and "\0" not in value):
        return str(value)
    raise ValueError("a path that begins with / belongs here, in quotes")


def address(value: object) -> tuple[str, int]:
    """A host and a port, like "game1.internal:8080" or "[::1]:8080"."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or not (match[1] or match[2]) or not 0 < int(match[3]) < 65536:
        raise ValueError('a host and a port belong here, like "game1.internal:8080" or "[::1]:80"')
    return match[1] or match[2], int(match[3])


def listening(value: object) -> tuple[tuple[str, int], ...]:
    """Addresses to listen at: one, or a list. ":1248" is all addresses, port 0 any free port."""
    found = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        match = _ADDRESS.fullmatch(one) if isinstance(one, str) else None
        if match is None or int(match[3]) > 65535:
            raise ValueError(
                'an address and a port, like "0.0.0.0:1248" or "[::]:1248", or a list of '
                "such belong here"
            )
        found.append((match[1] or match[2], int(match[3])))
    return tuple(found)


def place(value: object) -> str:
    """Where management listens, or nothing: health/place.py."""
    if value != "":
        try:
            parse_place(text(value))
        except UsageError as error:
            raise ValueError(str(error)) from None
    return str(value)


def pattern(value: object) -> str:
    """A regular expression, or nothing."""
    if not isinstance(value, str) or len(value) > MAX_PATTERN:
        raise ValueError(f"a regular expression of at most {MAX_PATTERN} characters belongs here")
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    return value


def module_function(value: object) -> str:
    """``module:function``, or nothing."""
    if value == "" or (
        isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value)
    ):
        return str(value)
    raise ValueError('a module and a function of it belong here, like "our_hooks:announce"')


def names(value: object) -> tuple[str, ...]:
    """Names of hosts: one, or a list."""
    found = value if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(one, str) and re.fullmatch(r"[\w.-]{1,253}", one) for one in found):
        return tuple(map(str, found))
    raise ValueError("a host's name without a port, or a list of such, belongs here")


def kcp(value: object) -> tuple[tuple[str, int], ...]:
    """Addresses to serve KCP at, or nothing."""
    found = () if value == "" else listening(value)
    if found and find_spec("siokcp") is None:
        raise ValueError(
            "to serve KCP, siokcp is needed: pip install 'trioet[kcp]'; or write \"\" here, and "
            "let clients use TCP"
        )
    return found


def no_fec(value: object) -> int:
    """0: whoever has clients that send parity is to know that they are not understood here."""
    if value == 0 and type(value) is int:
        return 0
    raise ValueError(
        "KCP with forward error correction is not served: write 0, and let clients do without it"
    )


def redis(value: object) -> str:
    """Where a Redis is, or nothing."""
    if value == "" or (isinstance(value, str) and re.fullmatch(r"(rediss?|unix)://\S+", value)):
        return text(value)
    raise ValueError('where a Redis is belongs here, like "redis://redis.internal:6379/0"')


def ignored(value: object) -> None:
    """What means nothing here, whatever it is."""
