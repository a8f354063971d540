"""What an SCP server allows: limits and times, which a reload may replace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_SESSIONS: Final = 20_000
"""Sessions of one server, those that wait for their client included."""

MAX_KEPT: Final = 16 * 1024 * 1024
"""Bytes kept for the replay of one session. A transfer that breaks has this much under way at
most: two buffers of Linux's largest default (6 MiB, tcp(7)), and what programs hold."""

MAX_KEPT_IN_ALL: Final = 512 * 1024 * 1024
"""Bytes kept for replays by one server. Beyond, who keeps more than an equal share gives."""


class Secure(Enum):
    """Whether sessions are sealed: see docs/scon.md."""

    OFF = "off"
    OFFERED = "offered"
    REQUIRED = "required"


@dataclass(frozen=True)
class Policy:
    """Times in seconds, sizes in bytes. The names are goscon's where it has one (5.2)."""

    handshake_timeout: float = 30.0
    """From accept to a whole request."""
    reuse_time: float = 30.0
    """How long a session waits for its client to come back."""
    reuse_buffer: int = 64 * 1024
    """Kept for the replay of a session in any case."""
    max_kept: int = MAX_KEPT
    """Kept for the replay of a session while there is memory (:data:`MAX_KEPT`)."""
    max_kept_in_all: int = MAX_KEPT_IN_ALL
    read_timeout: float = 0.0
    """A client that sends nothing for so long has its connection closed; 0: never."""
    keepalive: bool = True
    keepalive_interval: int = 60
    """Silence after which our kernel asks the client's whether it is there."""
    max_sessions: int = MAX_SESSIONS
    max_sessions_per_source: int = 0
    """Of one IPv4 address, or one /64 of IPv6; 0: as many as there are."""
    secure: Secure = Secure.OFFERED
    psk: bytes = b""
    """A key that clients of the secure mode must know; empty: they need none."""
