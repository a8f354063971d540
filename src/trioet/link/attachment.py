"""One line in use by a link: what it sends, and how long it has to prove itself.

What is to be sent is not queued anywhere: the session keeps it all until the peer has it, and
each line has a place in that. So two lines may carry the same bytes for a while (the old one
and a returning one that has not proven itself), and losing a line costs nothing but its place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioet.errors import HandshakeError, TooFarBehind
from trioet.link.line import Line, LineBroken

CHUNK: Final = 64 * 1024
"""Bytes handed to the kernel at once, about."""

PROOF_DEADLINE_S: Final = 15.0
"""How long a line may stay without proving itself, and without taking any of its catch-up.
A real `et` says something in 6 s, once it has all of that."""


class Attachment(ABC):
    """A line, and how far it has come. What it sends is for subclasses to say."""

    def __init__(self, line: Line, on_writable: Callable[[], None]) -> None:
        self.line = line
        self.proven = False
        """Something on this line has shown that the peer is at the other end."""
        self.given_up = False
        """Another line has taken its place: what it still brings is not looked at."""
        self.time_to_prove = trio.CancelScope()
        """Cancelled when the line has had its time; see :meth:`allow`."""
        self.blocked = False
        """True while the kernel takes no more."""
        self._tail: bytes | memoryview = b""
        self._turn: Callable[[], Awaitable[None]] | None = None
        self._on_writable = on_writable
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.line.peer_name} proven={self.proven}>"

    @abstractmethod
    def next_chunk(self) -> bytes:
        """Take what is to be sent next, about CHUNK bytes of it; b"" if there is nothing now.

        Raises:
          TooFarBehind: it is no longer kept.
        """

    def allow(self, seconds: float) -> None:
        """Give a line that has not proven itself so much time from now on."""
        self.time_to_prove.deadline = trio.current_time() + seconds

    def give_up(self) -> None:
        """Close the line in favour of another."""
        self.given_up = True
        self.line.close()

    def prove(self) -> None:
        """The peer is at the other end."""
        self.proven = True
        self.time_to_prove.deadline = math.inf

    def greet(self, data: bytes) -> None:
        """Send handshake bytes, ahead of everything."""
        self.put_in_front(data)
        self.flush()

    def put_in_front(self, data: bytes) -> None:
        """Send this before what :meth:`next_chunk` will say."""
        self._tail = bytes(self._tail) + data

    def wait_turn(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Send nothing more before ``turn()`` returns."""
        self._turn = turn
        self.block()

    def flush(self) -> None:
        """Hand over what the kernel takes. A broken line is left to its reader to notice."""
        if self.blocked:
            return
        try:
            while True:
                if not self._tail:
                    self._tail = self.next_chunk()
                    if not self._tail:
                        return
                taken = self.line.try_send(self._tail)
                if taken < len(self._tail):
                    self._tail = memoryview(self._tail)[taken:]
                    self.block()
                    return
                self._tail = b""
        except (LineBroken, TooFarBehind):
            self.line.close()
            self.blocked = True  # nothing more will go; its reader may take a moment to notice

    def is_writable(self) -> bool:
        """True while the kernel takes more."""
        if not self.blocked and not self.line.can_send():
            self.block()
        return not self.blocked

    def block(self) -> None:
        """Send no more until the line is writable; :meth:`run_writer` sees to that."""
        self.blocked = True
        self._wake.set()

    async def run_writer(self) -> None:
        """Send what could not be sent at once. Returns when the line breaks.

        Cancellation leaves the line as it is; whatever was sent stays counted.
        """
        try:
            while True:
                await self._wake.wait()
                if self._turn is not None:
                    await self._turn()
                    self._turn = None
                await self.line.wait_writable()
                self._wake = trio.Event()
                self.blocked = False
                self.flush()
                if not self.blocked:
                    self._on_writable()
        except (LineBroken, HandshakeError, TooFarBehind):
            self.line.close()
