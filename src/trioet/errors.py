"""Everything trioet raises on purpose.

* ``TrioetError``

  * ``PeerError``: bytes from outside broke the protocol. It costs one socket, never
    a session or a process.

    * ``FrameError``: a length that no honest peer sends.
    * ``PacketError``: flag, type or body of a packet make no sense.
    * ``ForgedPacket``: the packet does not open under the session's key.
    * ``MessageError``: not the protobuf message that belongs here.
    * ``HandshakeError``: a message out of turn, or a count that cannot be.
    * ``TooFarBehind``: the peer asks for packets that are no longer kept.

  * ``LocalError``: something on this side.

    * ``UsageError``: a command line or configuration that cannot be followed.
    * ``StepFailed``: one step on the way to a session failed; says which and what to do.
    * ``SessionLost``: the server no longer knows the session.
    * ``SessionUsedUp``: no more packets can be counted in it.
    * ``NobodyReads``: whoever read the output is gone.

Programs print ``str(error)`` after ``trioet: `` and nothing else; so every message is
one for a person: what, where, and what to do.
"""

from __future__ import annotations


class TrioetError(Exception):
    """Base of everything trioet raises on purpose."""


class PeerError(TrioetError):
    """Bytes from outside broke the protocol: drop the socket they came from."""


class FrameError(PeerError):
    """A frame's length is negative, too short or too long."""


class PacketError(PeerError):
    """A packet's flag, type or body makes no sense."""


class ForgedPacket(PeerError):
    """A packet did not open under the session's key at its ordinal."""


class MessageError(PeerError):
    """A body is not the protobuf message that belongs in its place."""


class HandshakeError(PeerError):
    """A handshake message came out of turn or carries an impossible count."""


class TooFarBehind(PeerError):
    """The peer asks for packets that have been dropped from the replay buffer."""


class LocalError(TrioetError):
    """Something on this side failed."""


class UsageError(LocalError):
    """A command line or a configuration file cannot be followed."""


class NobodyReads(LocalError):
    """The pipe or the terminal that the output goes to is gone."""


class StepFailed(LocalError):
    """One step on the way to a session failed.

    ``step`` names it (``"ssh"``, ``"terminal"``, ``"connect"`` …), ``what`` says what
    happened and where, ``hint`` what to do about it.
    """

    def __init__(self, step: str, what: str, hint: str = "") -> None:
        super().__init__(step, what, hint)
        self.step = step
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n        {self.hint}" if self.hint else self.what


class SessionLost(LocalError):
    """The server answered, and no longer knows this session."""


class SessionUsedUp(LocalError):
    """The session has sent as many packets as its protocol can count."""
