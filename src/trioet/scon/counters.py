"""What an SCP server has counted: plain numbers, which the metrics page shows."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

REMEMBERED: Final = 1024
"""Values of which a summary knows the quantiles: the newest."""


class Summary:
    """Values that were seen: how many, their sum, and the quantiles of the newest."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._newest: deque[float] = deque(maxlen=REMEMBERED)

    def __repr__(self) -> str:
        return f"<Summary count={self.count} total={self.total:g}>"

    def observe(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.total += value
        self._newest.append(value)

    def quantile(self, share: float) -> float:
        """The value that ``share`` (0 to 1) of the newest do not exceed; NaN before the first."""
        if not self._newest:
            return float("nan")
        ordered = sorted(self._newest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Counters:
    """Of one server. Everything but the gauges only grows."""

    accepts: int = 0
    """Connections accepted."""
    accept_fails: int = 0
    """Failures of accept(2)."""
    closes: int = 0
    """Sessions that have ended, for whatever reason."""
    sessions_begun: int = 0
    sessions: int = 0
    """A gauge: live sessions, those that wait for their client included."""
    sessions_waiting: int = 0
    """A gauge: of these, how many have no connection to their client now."""
    kept_bytes: int = 0
    """A gauge: memory of all replay buffers."""
    bytes_up: int = 0
    """Bytes of sessions, from clients."""
    bytes_down: int = 0
    """Bytes of sessions, to clients; replayed ones are in ``resends``."""
    resumes: int = 0
    """Connections with which a session was resumed."""
    resume_fails: int = 0
    """Resumes that were answered with anything but 200."""
    resends: Summary = field(default_factory=Summary)
    """Bytes replayed at a resume."""
    upstream_fails: int = 0
    """Sessions whose backend could not be reached."""
    handshake_errors: Counter[int] = field(default_factory=Counter)
    """By code: 400, 401, 403, 404, 406, and 501 for a connection that broke or was too slow."""
    close_reasons: Counter[str] = field(default_factory=Counter)
    """Ends of sessions, by :class:`trioet.scon.server.Ended`'s values."""
