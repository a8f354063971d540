"""What the user asked for, as the client takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from trioet.bootstrap.et_jump import EtJumphost
from trioet.link.line import Line
from trioet.session.forwards import Forwards
from trioet.wire.forward import Forward
from trioet.wire.messages import Exec


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for, once the way to the server is known.

    ``typed`` is what ET's ``-c`` types into the shell of a server that knows no exec.
    """

    client_id: bytes
    passkey: bytes = field(repr=False)
    host: str
    dial: Callable[[], Awaitable[Line]]
    """Connects, and asks nothing."""
    environment: Mapping[bytes, bytes]
    keepalive_s: float | None = None
    """Seconds between signs of life; None: as few as the way needs, where the server agrees."""
    exec: Exec = field(default_factory=Exec)
    typed: bytes = b""
    raw: bool = False
    """Every key is passed on, as soon as there is a session; before, Ctrl-C ends us."""
    escape: bytes | None = b"~"
    has_terminal: bool = True
    forwards: tuple[Forward, ...] = ()
    exit_on_forward_failure: bool = False
    gateway_ports: bool = False
    log_in: Callable[[], Awaitable[Line]] | None = None
    """Connects, and may ask the user."""
    login_needed: Callable[[], bool] = lambda: False
    """Whether that would help now: what asks nothing got no answer for want of one."""
    jumphost: EtJumphost | None = None
    """ET's, to which ``dial`` leads; ``host`` is behind it."""
    purpose: Callable[[Forwards], Awaitable[None]] | None = None
    """Without a terminal: what the session is for. It is over when this returns, or raises
    StepFailed."""
