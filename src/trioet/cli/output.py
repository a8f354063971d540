"""What a command prints: that it cannot be written has a reason, and is no crash."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from trioet.errors import LocalError, NobodyReads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def printing() -> Iterator[None]:
    """What is printed in this context has been written at its end.

    Raises:
      LocalError: it cannot be; says why.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        _lead_nowhere(1)
        if isinstance(error, BrokenPipeError):
            raise NobodyReads("nobody reads the output any more") from error
        raise LocalError(f"cannot write the output: {error.strerror}") from error


def complain(text: object) -> None:
    """Say on stderr what went wrong. Where nobody hears it, the exit status still tells."""
    try:
        print(f"trioet: {text}", file=sys.stderr, flush=True)
    except OSError:
        _lead_nowhere(2)


def write_error(data: bytes) -> None:
    """Write it to stderr. Where that cannot be written, nothing else changes, as with ssh."""
    try:
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
    except OSError:
        _lead_nowhere(2)


def _lead_nowhere(descriptor: int) -> None:
    """Else Python would try again at the end to write what it still has, and fail with 120."""
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nothing, descriptor)
    os.close(nothing)
