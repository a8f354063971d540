"""Those who look on at a session: what they share of it, and what they may do to it.

The session tells what is written and how large its terminal is. It never waits for anybody
here: viewers read from a tape, each at its own pace (viewer.py), and who falls behind begins
anew.

A link to a session is shown in that session. So that those who look on already do not see it,
and use it, there is a *curtain*: while it is drawn nothing that is written goes to the tape.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from trioet.session.keyboard import Took
from trioet.session.tape import Tape
from trioet.wire.messages import WindowSize

NUDGE_S: Final = 0.1
"""How long the terminal has a row less: long enough for programs to notice."""

NUDGE_EVERY_S: Final = 2.0
"""At most so often, however many begin anew: the owner sees it."""


class Stage(Protocol):
    """The session, as its audience knows it."""

    @property
    def window_size(self) -> WindowSize:
        """Of its terminal."""

    def resize_terminal(self, size: WindowSize) -> None:
        """Tell its programs another size for a moment."""

    def type_for(self, data: bytes, took: Took) -> None:
        """Somebody else than the owner has typed."""

    def forget_typing(self, took: Took) -> None:
        """Somebody may not any more."""


class Audience:
    """Everybody who looks on at one session."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tape = Tape()
        self.over = trio.Event()
        """The session has ended, and all that it wrote is on the tape."""
        self._curtains = 0
        self._shares = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._redraw = trio.Event()

    def __repr__(self) -> str:
        return f"<Audience shares={self._shares} curtains={self._curtains} {self.tape!r}>"

    # The session's side

    def feed(self, output: bytes) -> None:
        """The program has written."""
        if self._shares and not self._curtains:
            self.tape.feed(output)
            self._changed.unpark_all()

    def look(self) -> None:
        """Something changed: the size, a line of a viewer's."""
        self._changed.unpark_all()

    def close(self) -> None:
        """The session is over."""
        self.over.set()
        self._changed.unpark_all()

    async def redraw(self) -> None:
        """Have the program draw its screen whenever that is asked for, until cancelled.

        Cancellation leaves the terminal at its size.
        """
        while True:
            await self._redraw.wait()
            size = self.stage.window_size
            if size.rows > 1:
                less = WindowSize(size.rows - 1, size.columns, size.xpixel, size.ypixel)
                self.stage.resize_terminal(less)
                try:
                    await trio.sleep(NUDGE_S)
                finally:
                    self.stage.resize_terminal(self.stage.window_size)
            self._redraw = trio.Event()
            await trio.sleep(NUDGE_EVERY_S)

    # The keeper's

    def shared(self) -> None:
        """There is one more share, whether somebody uses it or not."""
        self._shares += 1

    def unshared(self) -> None:
        """There is one less; without any, nothing is kept."""
        self._shares -= 1
        if not self._shares:
            self.tape = Tape()

    def draw_curtain(self) -> None:
        """Nobody sees what is written from now on."""
        self._curtains += 1

    def lift_curtain(self) -> None:
        """They see it again; each :meth:`draw_curtain` has its own."""
        self._curtains -= 1
        if self._shares:
            self.ask_redraw()

    # Viewers'

    def ask_redraw(self) -> None:
        """Somebody has not got the whole screen; only the program can draw it."""
        self._redraw.set()

    async def changed(self) -> None:
        """Wait until something was written, or changed. Cancellation changes nothing."""
        await self._changed.park()
