"""What a command prints: that it cannot be written has a reason, and is no crash.

Imports nothing slow: `trioet terminal` is on every user's way to a prompt.
"""

from __future__ import annotations

import os
import sys

from trioet.errors import LocalError, NobodyReads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Printing:
    """A context: what is printed in it has been written at its end.

    Raises:
      NobodyReads: it cannot be, for whoever read it is gone.
      LocalError: it cannot be; says why.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                sys.stdout.flush()
        except OSError as failed:
            raise _not_written(failed) from failed
        if isinstance(error, OSError):
            raise _not_written(error) from error


def _not_written(error: OSError) -> LocalError:
    _lead_nowhere(1)
    if isinstance(error, BrokenPipeError):
        return NobodyReads("nobody reads the output any more")
    return LocalError(f"cannot write the output: {error.strerror}")


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
