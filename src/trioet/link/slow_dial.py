"""A dial that takes longer than those who ask for it have patience.

A login by ssh takes seconds. Attempts of the reconnect loop come and go meanwhile, each would
begin anew and none would come to an end; and many at once look like an attack to the server.
So there is one at a time, which belongs to none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.errors import TrioetError
from trioet.link.line import Line, LineBroken

DIAL_DEADLINE_S: Final = 30.0
"""For one dial in all."""

UNCLAIMED_S: Final = 20.0
"""How long a line waits for somebody to take it: longer than the pauses of who is away from
the keyboard."""

FIRST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 15.0
"""Between a failure and the next dial; doubled by each. Those who ask meanwhile are told the
last failure."""


class SlowDial:
    """One dial at a time, for whoever asks. :meth:`run` must be running."""

    def __init__(self, dial: Callable[[], Awaitable[Line]]) -> None:
        self._dial = dial
        self._asked = trio.Event()
        self._told = trio.Event()
        self._line: Line | None = None
        self._taken = trio.Event()
        self._error: Exception | None = None
        self._again_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    def wake(self) -> None:
        """Something makes success likely now: do not wait for the end of the pause."""
        self._pause_s, self._again_at = FIRST_PAUSE_S, 0.0

    async def dial(self) -> Line:
        """Wait for the line of the dial that goes on, or of a new one.

        Cancellation leaves the line to the next who asks.

        Raises what the dial raised; LineBroken: somebody else has taken the line.
        """
        if self._error is not None and trio.current_time() < self._again_at:
            raise self._error.with_traceback(None)
        self._asked.set()  # no news while it dials
        told = self._told
        if self._line is None:
            await told.wait()
        if self._line is None:
            error = self._error or LineBroken("another attempt has taken this connection")
            raise error.with_traceback(None)
        line, self._line = self._line, None
        self._asked = trio.Event()
        self._taken.set()
        return line

    async def run(self) -> None:
        """Dial when asked, until cancelled; then nothing stays open that was not taken."""
        while True:
            await self._asked.wait()
            self._error = None
            try:
                with trio.fail_after(DIAL_DEADLINE_S):
                    self._line = await self._dial()
            except (OSError, LineBroken, TrioetError) as error:
                self._failed(error)
            except trio.TooSlowError:
                self._failed(TimeoutError("timed out"))
            else:
                await self._offer()

    def _failed(self, error: Exception) -> None:
        self._error = error
        self._again_at = trio.current_time() + self._pause_s
        self._pause_s = min(2 * self._pause_s, MOST_PAUSE_S)
        self._asked = trio.Event()
        self._tell()

    async def _offer(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._taken = trio.Event()
        self._tell()
        try:
            with trio.move_on_after(UNCLAIMED_S):
                await self._taken.wait()
        finally:
            if self._line is not None:
                self._line.close()
                self._line = None
                self._asked = trio.Event()

    def _tell(self) -> None:
        told, self._told = self._told, trio.Event()
        told.set()
