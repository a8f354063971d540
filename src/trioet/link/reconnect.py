"""The client's loop: when to try for a new line, and who may wake it early.

Attempts overlap: one that hangs in a black hole is left to its chance for a while, and the
next is started beside it. A line that works is never given up for one that does not yet.
"""

from __future__ import annotations

import logging
import math
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from trioet.errors import LocalError, PeerError, SessionLost, TrioetError
from trioet.link.chain import RelayFailed
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import Refused
from trioet.link.ways import NoWay
from trioet.wire.messages import ConnectStatus

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
PAUSE_AT_KEYBOARD_S: Final = 1.0
PAUSE_ALONE_S: Final = 15.0
AT_KEYBOARD_S: Final = 60.0
"""A user who typed within this time is waiting."""

WAKE_PAUSE_S: Final = 0.05
"""Between two tries, however often we are woken."""

DIAL_DEADLINE_S: Final = 10.0
MAX_DIALLING: Final = 4
DIAL_PATIENCE_S: Final = 3.0
"""A dialling attempt may be replaced by a fresh one after this long: the kernel repeats
a lost SYN after 1, 3 and 7 s, a new attempt sends one now. What was begun before the network
changed may hang for good, and has PAUSE_AT_KEYBOARD_S."""

MAX_SHAKING: Final = 2
"""Connected attempts at once; a server takes two lines on trial (ResumableLink)."""

FIRST_PATIENCE_S: Final = 10.0
"""How long the very first connection is tried for, while it is closed without an answer or
nobody answers: what lies between, or the server, may be restarting."""

FIRST_REFUSED_S: Final = 2.0
"""The same while nothing listens, or no way leads there: a router that restarts is away for a
fraction of a second."""

CONNECTING: Final = "connecting"
NO_REPLY: Final = "no reply"

RECHECKS: Final = 2
"""A refusal ends a session that just worked only when it is said this often again."""

DENIED_S: Final = 600.0
"""For so long must a server deny a session that it would have ended under the key. Its answer
has no seal: anyone on the way can write it. But a machine that was restarted gives it too."""

DENIAL_GAP_S: Final = 60.0
"""Refusals further apart than this do not add up: in between, nobody was there to ask."""


class CannotConnect(TrioetError):
    """No attempt has ever succeeded, and the next would not: there is no session to save."""


class Resumable(Protocol):
    """What the loop needs of a link, whatever it carries."""

    @property
    def established(self) -> bool:
        """True once there is a session: the next line resumes it."""

    @property
    def attached(self) -> bool:
        """True while there is a line."""

    @property
    def lines(self) -> Sequence[Line]:
        """Those in use, oldest first."""

    @property
    def last_heard(self) -> float:
        """When the peer last said something, in Trio's clock."""

    async def run_client_line(self, line: Line, client_id: bytes) -> object:
        """Use a line until it is gone; raises why.

        A LocalError, as SessionLost is, says that no other will do either.
        """


class Attempt:
    """One try: dial, shake hands, and then the life of the line."""

    def __init__(self, line: Line | None = None) -> None:
        self.begun = trio.current_time()
        self.scope = trio.CancelScope()
        self.beside = line is not None
        """It may go on though a line works."""
        self.line = line
        self.error: Exception | None = None
        self.over = False


class Reconnector:
    """Keep a link attached. Owns no task but those of its own nursery in :meth:`run`."""

    def __init__(
        self,
        link: Resumable,
        client_id: bytes,
        dial: Callable[[], Awaitable[Line]],
        *,
        jitter: random.Random | None = None,
    ) -> None:
        self.reason = CONNECTING
        """Why there is no line, in a few words for the user."""
        self.tries = 0
        """Attempts since the link was last attached."""
        self.denied_s = 0.0
        """Seconds that a server must deny the session for; DENIED_S if it says "over" first."""
        self.unknown_s = 0.0
        """Seconds from the beginning on in which to be unknown to the server means nothing: it has
        not been told of us yet."""
        self.refused = 0
        """Connections given up because what came was not of our server."""
        self.on_lines: Callable[[], None] = lambda: None
        """Called when a line was attached, proven or lost, or something was answered."""
        self.on_wake: Callable[[], None] = lambda: None
        """Called when something makes success likely."""
        self.on_refused: Callable[[Line], bool] = lambda line: False
        """Called with the line over which a server refused a session that is new; returns
        whether another server may have it."""
        self._link = link
        self._client_id = client_id
        self._dial = dial
        self._jitter = jitter or random.Random()
        self._changed = trio.lowlevel.ParkingLot()
        self._attempts: list[Attempt] = []
        self._suspect: Line | None = None
        self._suspected_at = 0.0
        self._woken = False
        self._network_changed_at = -math.inf
        self._typed_at = trio.current_time()
        self._last_try = -math.inf
        self._next_try = 0.0
        self._refusals = 0
        self._refused_first = self._refused_last = -math.inf
        self._started = 0.0
        self._failure: Exception | None = None
        self._nursery: trio.Nursery | None = None

    # What others tell us

    def line_changed(self) -> None:
        """A line was attached, proven or lost."""
        self.on_lines()
        self._changed.unpark_all()

    def take_beside(self, line: Line) -> None:
        """Use this line too, which becomes the only one when it has proven itself."""
        assert self._nursery is not None, "run() comes first"
        attempt = Attempt(line)
        self._attempts.append(attempt)
        self._nursery.start_soon(self._run_attempt, attempt)

    def suspect(self) -> None:
        """The line in use does not answer: find another, beside it."""
        if self._link.lines:
            self._suspect = self._link.lines[-1]
            self._suspected_at = trio.current_time()
            self.reason = NO_REPLY
            self._begin()
            self._next_try = max(self._next_try, self._last_try + WAKE_PAUSE_S)

    def wake(self) -> None:
        """Something makes success likely now: do not wait for the end of the pause."""
        self.tries = 0
        self._woken = True
        self._next_try = min(self._next_try, self._last_try + WAKE_PAUSE_S)
        self.on_wake()
        self._changed.unpark_all()

    def network_changed(self) -> None:
        """Attempts under way may lead nowhere; new ones may succeed.

        If there are none, because there was no way a moment ago, the next is made now: callers
        bound how often that is.
        """
        self._network_changed_at = trio.current_time()
        self.wake()
        if not self._pending():
            self._next_try = self._network_changed_at

    def typed(self) -> None:
        """The user pressed a key."""
        self._typed_at = trio.current_time()
        if not self._link.attached:
            self.wake()

    # The loop

    async def run(self, line: Line | None = None) -> None:
        """Keep the link attached until cancelled, or until the session is over.

        ``line`` is one that is there already. May be called again after CannotConnect.

        Cancellation closes all lines and loses no packet.

        Raises:
          CannotConnect: there was no session yet, and the attempts to have one failed: for
              FIRST_PATIENCE_S, or less if what they failed of does not pass.
          Refused: there was no session yet, and the server refused it; wherever another may
              be, it did so as well.
          SessionLost: there was a session, and the server refused it again and again.
          LocalError: the link says that no line will do.
        """
        self._started = trio.current_time()
        self._begin()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._attempts.clear()
            if line is not None:
                self.take_beside(line)
                self._next_try = trio.current_time() + PAUSE_AT_KEYBOARD_S
            while True:
                self._look_at_outcomes()
                if self._satisfied():
                    self.tries = 0
                    self._cancel_pending()
                    await self._changed.park()
                    if not self._satisfied():
                        self._begin()
                    continue
                if trio.current_time() >= self._next_try:
                    self._try_again(nursery)
                with trio.move_on_at(self._next_try):
                    await self._changed.park()

    def _begin(self) -> None:
        self.tries = 0
        self._next_try = trio.current_time()
        self._changed.unpark_all()

    def _satisfied(self) -> bool:
        lines = self._link.lines
        if self._suspect not in lines or self._link.last_heard > self._suspected_at:
            self._suspect = None
        return bool(lines) and lines[-1] is not self._suspect

    def _pending(self) -> list[Attempt]:
        lines = self._link.lines
        return [a for a in self._attempts if a.line not in lines and not a.beside]

    def _cancel_pending(self) -> None:
        for attempt in self._pending():
            attempt.scope.cancel()

    def _try_again(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        recent = now - self._typed_at < AT_KEYBOARD_S
        longest = PAUSE_AT_KEYBOARD_S if recent else PAUSE_ALONE_S
        pause = min(FIRST_PAUSE_S * 2 ** min(self.tries, 20), longest)
        pending = self._pending()
        if pending and now - pending[-1].begun < PAUSE_AT_KEYBOARD_S and not self._woken:
            # Give the last one a moment before another is started beside it.
            pause = max(pause, pending[-1].begun + PAUSE_AT_KEYBOARD_S - now)
        elif self._has_slot(pending):
            self.tries += 1
            self._last_try = now
            attempt = Attempt()
            self._attempts.append(attempt)
            nursery.start_soon(self._run_attempt, attempt)
        elif self._woken:
            self._next_try = now + WAKE_PAUSE_S  # one that is under way may make room soon
            return
        self._woken = False
        self._next_try = now + pause * self._jitter.uniform(0.75, 1.25)

    def _has_slot(self, pending: list[Attempt]) -> bool:
        dialling = [attempt for attempt in pending if attempt.line is None]
        shaking = [attempt for attempt in pending if attempt.line is not None]
        # One that shakes hands may wait for a router that waits for a keeper.
        return self._has_room(shaking, MAX_SHAKING, math.inf) and self._has_room(
            dialling, MAX_DIALLING, DIAL_PATIENCE_S
        )

    def _has_room(self, attempts: list[Attempt], most: int, patience_s: float) -> bool:
        """True if there may be one more, if need be in place of the oldest."""
        if len(attempts) < most:
            return True
        if attempts[0].begun < self._network_changed_at:
            patience_s = PAUSE_AT_KEYBOARD_S
        if trio.current_time() - attempts[0].begun < patience_s:
            return False
        attempts[0].error = timed_out()
        attempts[0].scope.cancel()
        return True

    async def _run_attempt(self, attempt: Attempt) -> None:
        with attempt.scope:
            try:
                if attempt.line is None:
                    with trio.fail_after(DIAL_DEADLINE_S):
                        attempt.line = await self._dial()
                await self._link.run_client_line(attempt.line, self._client_id)
            except (OSError, LineBroken, TrioetError) as error:
                attempt.error = error
            except trio.TooSlowError:
                attempt.error = timed_out()
        attempt.over = True
        self._changed.unpark_all()

    def _look_at_outcomes(self) -> None:
        for attempt in [a for a in self._attempts if a.over]:
            self._attempts.remove(attempt)
            if isinstance(attempt.error, Refused):
                self._refused(attempt.error, attempt.line)
            elif isinstance(attempt.error, LocalError) and attempt.line is not None:
                raise attempt.error  # of the link, or who receives: no other line will do
            elif attempt.error is not None:
                if isinstance(attempt.error, PeerError) and attempt.line is not None:
                    self.refused += 1
                    log.info("refused %s: %s", attempt.line.peer_name, attempt.error)
                self.reason = explain(attempt.error)
                self._failure = attempt.error
                self._give_up_at_first(patience_at_first(attempt.error))
        # However long those that still hang may.
        self._give_up_at_first(FIRST_PATIENCE_S)

    def _give_up_at_first(self, patience_s: float) -> None:
        if self._failure is None or self._link.established:
            return
        if trio.current_time() - self._started >= patience_s:
            raise CannotConnect(self.reason) from self._failure

    def _refused(self, refusal: Refused, line: Line | None) -> None:
        """The server says no, without a seal.

        Anyone on the path can forge this answer; a restarted server may give it in good
        faith. Whatever opens under the key proves it wrong.
        """
        if not self._link.established:
            unknown = refusal.status is ConnectStatus.INVALID_KEY
            if unknown and trio.current_time() - self._started < self.unknown_s:
                return
            if line is None or not self.on_refused(line):
                raise refusal
            self._begin()
            return
        self.reason = (
            "the server does not know the session"
            if refusal.status is ConnectStatus.INVALID_KEY
            else "the server speaks another version of the protocol"
        )
        now = trio.current_time()
        heard = self._link.attached or self._link.last_heard > self._refused_first
        if heard or now - self._refused_last > DENIAL_GAP_S:
            self._refusals = 0
        self._refused_last = now
        if not self._refusals:
            self._refused_first = now
        if self._link.attached:
            return
        self._refusals += 1
        if self._refusals > RECHECKS and now - self._refused_first >= self.denied_s:
            raise SessionLost(self.reason)


def timed_out() -> TimeoutError:
    """The error of an attempt that nobody answered."""
    return TimeoutError("connection timed out")


def patience_at_first(error: Exception) -> float:
    """How long the first connections may fail of this, in seconds, before it is told."""
    match error:
        case NoWay(failures=failures):
            return max(patience_at_first(failure) for _, failure in failures)
        case RelayFailed():
            return FIRST_REFUSED_S
        case LineBroken() | TimeoutError():
            return FIRST_PATIENCE_S
        case socket.gaierror():
            return 0.0
        case OSError():
            return FIRST_REFUSED_S
        case _:
            return 0.0


def explain(error: BaseException) -> str:
    """Say in a few words why a line could not be had, or was lost."""
    if isinstance(error, NoWay):
        if len(error.failures) == 1:
            return explain(error.failures[0][1])
        return "; ".join(f"{way.name}: {explain(failure)}" for way, failure in error.failures)
    group: BaseException | None = error
    while isinstance(group, OSError) and group.__cause__ is not None:
        group = group.__cause__
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[-1]
    if isinstance(group, OSError) and group.errno and group.errno > 0:
        return os.strerror(group.errno).lower()
    if isinstance(group, OSError):  # of name resolution, whose numbers are not errno's
        return (group.strerror or str(group)).lower()
    return str(group)
