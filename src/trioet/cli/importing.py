"""Import what a program needs, in less time.

Nothing that an import makes is garbage: to look for some is a tenth of what importing takes,
while ssh needs the processor too.
"""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def imported(load: Callable[[], T]) -> T:
    """Return what ``load`` imports. The collector need never look at that, then or later."""
    gc.disable()
    try:
        return load()
    finally:
        gc.freeze()
        gc.enable()
