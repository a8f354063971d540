"""What ssh brings back from a host that was asked for something other than a session.

Anywhere in whatever the far side's start-up files print, a mark, and then to the end of the line
the details as JSON. Instead, on failure, what :mod:`trioet.bootstrap.invitation` knows.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import ClassVar, Final, NoReturn

from trioet.bootstrap.invitation import FAILURE, MAX_LINE, MAX_NOISE, AnswerReader, T
from trioet.errors import StepFailed

OLDER: Final = b"stdin must begin with a line id/passkey_TERM"
"""What a trioet says there that does not know what it was asked for: it takes the line for a
session's."""


def offer_line(mark: str) -> re.Pattern[bytes]:
    """What ``mark`` and its details look like up to the end of the line; those are the group.

    A start-up file may have printed the beginning of the line.
    """
    return re.compile(rb"%s:([^\n]{0,%d}?)\r?\n" % (mark.encode(), MAX_LINE))


class OfferReader(AnswerReader[T]):
    """Find the offer."""

    LINE: ClassVar[re.Pattern[bytes]]
    """From :func:`offer_line`."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._searched = 0

    @abstractmethod
    def read(self, details: bytes) -> T:
        """Return what the details say.

        Raises:
          PeerError: they make no sense.
        """

    @abstractmethod
    def too_old(self) -> StepFailed:
        """The error for a trioet there that does not know what it was asked for."""

    def feed(self, data: bytes) -> T | None:
        self._output += data
        begin = max(0, self._searched - 2 * MAX_LINE)
        self._searched = len(self._output)
        found, failure = (line.search(self._output, begin) for line in (self.LINE, FAILURE))
        if failure and (found is None or failure.start() < found.start()):
            self._fail(failure)
        if (found.start() if found else len(self._output)) > MAX_NOISE:
            raise self._too_noisy()
        return self.read(found[1]) if found is not None else None

    def end(self) -> T | None:
        return self.feed(b"\n")

    def _fail(self, failure: re.Match[bytes]) -> NoReturn:
        if failure[2] is not None and OLDER in failure[2]:
            raise self.too_old()
        super()._fail(failure)
