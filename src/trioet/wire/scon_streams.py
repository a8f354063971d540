"""What lies between a program's bytes and those on the wire, in goscon's own form: RC4.

One key for both directions, one state in each, running over the whole session: what is
replayed is the old ciphertext (description of goscon, 2.6).
"""

from __future__ import annotations

from typing import Final, Protocol

from trioet.wire.scon_arc4 import arc4
from trioet.wire.scon_handshake import CODE_SIZE, ResumeAnswer, ResumeRequest
from trioet.wire.scon_keys import resume_code, stream_key


class Outward(Protocol):
    """Bytes that leave: from the program's to the wire's."""

    @property
    def piece(self) -> int:
        """Bytes of the program's that one :meth:`seal` should have at most."""

    def seal(self, data: bytes) -> bytes:
        """What is sent for ``data``, now and at every replay."""


class Inward(Protocol):
    """Bytes that arrive: from the wire's to the program's."""

    @property
    def received(self) -> int:
        """Bytes of the wire's that need not come again."""

    @property
    def acknowledged(self) -> int:
        """Bytes of ours that the peer has said it has; 0 if its protocol has no way to."""

    @property
    def ended(self) -> bool:
        """The peer has said that nothing more will follow."""

    @property
    def over(self) -> bool:
        """The peer has said that it has no more use for the session."""

    def open(self, data: bytes) -> bytes:
        """What the program may have after ``data`` came.

        Raises:
          PeerError: the bytes are not the peer's. They count as not received; what follows
              them on the same connection is of no use.
        """

    def restart(self) -> None:
        """What comes next was sent from position :attr:`received` on."""


class Keys(Protocol):
    """What both ends of a session share."""

    def sign(self, request: ResumeRequest) -> bytes:
        """The proof that a request comes from who began the session."""

    def prove(self, request: ResumeRequest, answer: ResumeAnswer) -> bytes:
        """The proof that an answer comes from who holds it; b"" where the protocol has none."""


class Arc4Outward:
    """Obscured by RC4."""

    piece: Final = 64 * 1024

    def __init__(self, secret: int) -> None:
        self.seal = arc4(stream_key(secret))


class Arc4Inward:
    """Obscured by RC4. Whatever comes is taken for the peer's: there is no checksum."""

    acknowledged: Final = 0
    ended: Final = False
    over: Final = False

    def __init__(self, secret: int) -> None:
        self._open = arc4(stream_key(secret))
        self.received = 0

    def open(self, data: bytes) -> bytes:
        """As :class:`Inward` says."""
        self.received += len(data)
        return self._open(data)

    def restart(self) -> None:
        """Nothing waits for its end."""


class Arc4Keys:
    """The secret of 64 bits."""

    def __init__(self, secret: int) -> None:
        self.secret = secret

    def sign(self, request: ResumeRequest) -> bytes:
        """As :class:`Keys` says."""
        return resume_code(request.signed(), self.secret)[:CODE_SIZE]

    def prove(self, request: ResumeRequest, answer: ResumeAnswer) -> bytes:
        """There is none."""
        return b""
