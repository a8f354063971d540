"""Titles by GoTTY's ``--title-format``, and GoTTY's own index pages.

Of Go's templates only ``{{ .name }}`` is understood. What is put in cannot do anything: control
characters are left out of titles, and pages get it as text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Final

from trioet.errors import UsageError

_VARIABLE: Final = re.compile(r"\{\{-?\s*\.?([A-Za-z_]\w*(?:\.\w+)*)\s*-?\}\}")

VARIABLES: Final = ("command", "argv", "hostname", "pid", "remote_addr")
_MAPS: Final = ("server", "master", "slave")
"""GoTTY's names for where a variable comes from."""

MAX_TITLE: Final = 256


def title(template: str, values: Mapping[str, object]) -> str:
    """A window's title.

    Raises:
      UsageError: the template names what there is not.
    """
    return inert(fill(template, values, str))


def inert(text: str) -> str:
    """A text in which nothing controls a terminal, and that is not too long for a title."""
    return "".join(char for char in text if char.isprintable())[:MAX_TITLE]


def fill(template: str, values: Mapping[str, object], escape: Callable[[str], str]) -> str:
    """Put values into a template.

    Raises:
      UsageError: the template names what there is not.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        scope, _, rest = name.partition(".")
        name = rest if scope in _MAPS else name
        if name not in values:
            raise UsageError(
                f"{{{{ .{found[1]} }}}} is not known here; there are "
                f"{', '.join('.' + each for each in values)}"
            )
        return escape(str(values[name]))

    return _VARIABLE.sub(value, template)


def index_page(template: str, page_title: str) -> bytes:
    """An operator's own index page (``--index``).

    Raises:
      UsageError: it names more than ``{{ .title }}``.
    """
    return fill(template, {"title": page_title}, html.escape).encode()
