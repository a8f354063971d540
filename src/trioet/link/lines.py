"""The lines of one session: on trial at first, then proven, then replaced.

**Prove, then replace.** A new line is provisional until something on it shows that the peer is
at the other end. Until then the older line stays, and both carry the same bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, NoReturn, TypeVar

import trio

from trioet.errors import TrioetError
from trioet.link.attachment import PROOF_DEADLINE_S, Attachment
from trioet.link.line import Line, LineBroken
from trioet.link.trial import Trial

AttachmentT = TypeVar("AttachmentT", bound=Attachment)


class PeerClosed(LineBroken):
    """The peer closed the connection in order: it has read all that we sent before."""


class Unproven(LineBroken):
    """The connection ended, and the peer had not proven to be ours."""


class Lines(Generic[AttachmentT]):
    """Take lines on trial, attach them, replace the older by the proven."""

    def __init__(self) -> None:
        self.attached: list[AttachmentT] = []
        """Those that carry the session, oldest first."""
        self.proven_count = 0
        """Lines that have proven themselves so far."""
        self.trial = Trial()
        self.on_change: Callable[[], None] = lambda: None
        """Called when a line is attached, proven or gone."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called before that when a line that carried the session is gone."""

    @property
    def proven(self) -> AttachmentT | None:
        """The line over which the session goes: the newest that has proven itself."""
        return next((a for a in reversed(self.attached) if a.proven), None)

    def attach(self, attachment: AttachmentT) -> None:
        """Its handshake is over: the line carries the session from now on."""
        attachment.allow(PROOF_DEADLINE_S)
        self.attached.append(attachment)
        self.on_change()

    def prove(self, attachment: AttachmentT) -> None:
        """The peer is at the other end of the line: those before it go."""
        attachment.prove()
        self.trial.passed(attachment)
        self.proven_count += 1
        for older in self.attached[: self.attached.index(attachment)]:
            older.give_up()
        self.on_change()

    def flush(self) -> None:
        """Send what there is to be sent, on every line."""
        for attachment in self.attached:
            attachment.flush()

    def close(self) -> None:
        """Close every line."""
        for attachment in self.attached:
            attachment.line.close()

    async def run(
        self, attachment: AttachmentT, converse: Callable[[], Awaitable[object]]
    ) -> NoReturn:
        """Use the line for as long as it lasts; ``converse()`` reads it.

        Closes the line in any case. Cancellation loses nothing but the line.

        Raises:
          LineBroken, TrioetError: what ended it. Unproven if it was not attached for long
              enough to prove itself.
        """
        failure: TrioetError | LineBroken = Unproven("the peer did not prove itself in time")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attachment.run_writer)
                try:
                    self.trial.enter(attachment)
                    with attachment.time_to_prove:
                        await converse()
                except (LineBroken, TrioetError) as error:
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            attachment.line.close()
            if not attachment.proven:
                self.trial.failed(attachment)
            if attachment in self.attached:
                self.attached.remove(attachment)
                self.on_lost()
            self.on_change()
        try:
            raise failure
        finally:
            del failure  # else its traceback keeps this frame, and all that the line brought


async def receive(line: Line) -> bytes:
    """Return some bytes. Cancellation loses nothing.

    Raises:
      PeerClosed: there are no more.
      LineBroken: the connection is gone.
    """
    data = await line.receive()
    if not data:
        raise PeerClosed("the peer closed the connection")
    return data
