"""One conversation of KCP: what a connection is to TCP. Does no I/O, and has no clock.

The protocol itself is ikcp's, by siokcp: an optional extra, ``trioet[kcp]``, imported only
here. KCP has no handshake, so whoever forges an address would have us send to it; until the
other end has shown that it gets what is sent to it, little is.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from trioet.scon.kcp_option import KcpOption
from trioet.wire.kcp_segments import Command, Segment, segments

UNPROVEN_FACTOR: Final = 4
"""Bytes that are sent, for each that came, to who may have forged the address. The answer to
a request fits four times. (QUIC allows three, RFC 9000, 8.1; the answer to a SYN comes six
times.)"""

_MASK: Final = 0xFFFFFFFF


class Conversation:
    """Segments in, bytes out, and the other way round. Times are Trio's, in seconds."""

    def __init__(self, number: int, option: KcpOption, now: float) -> None:
        from siokcp import KCPConnection

        out: list[bytes] = []

        def send(datagram: bytes) -> int:
            # Nothing that leads back to the connection: it takes no part in Python's gc.
            out.append(datagram)
            return 0

        self.number = number
        self.proven = False
        """The other end gets what is sent to it."""
        self._kcp: Any = KCPConnection(number, send, lambda text: None)
        self._out = out
        self._most_waiting = option.opt_sndwnd
        self._credit = 0
        # A clock that strangers do not know: its times come back in acknowledgements.
        self._offset = secrets.randbits(32)
        self._times: set[int] = set()
        self._kcp.stream = int(option.opt_stream)
        self._kcp.nodelay(option.opt_nodelay, option.opt_interval, option.opt_resend, option.opt_nc)
        self._kcp.wndsize(option.opt_sndwnd, option.opt_rcvwnd)
        self._kcp.setmtu(option.opt_mtu)
        self._kcp.update(self._milliseconds(now))

    def __repr__(self) -> str:
        return f"<Conversation {self.number:#x} waiting={self.waiting} proven={self.proven}>"

    @property
    def waiting(self) -> int:
        """Segments that the other end has not acknowledged."""
        return int(self._kcp.waitsnd())

    @property
    def has_room(self) -> bool:
        """False while enough is waiting."""
        return self.waiting < self._most_waiting

    @property
    def dead(self) -> bool:
        """The other end acknowledges nothing: ikcp has given it up."""
        return int(self._kcp.state) != 0

    def input(self, datagram: bytes, found: Sequence[Segment], now: float) -> None:
        """Take a datagram of this conversation's, with the segments that are in it."""
        if not self.proven:
            self._credit += UNPROVEN_FACTOR * len(datagram)
            self.proven = any(
                one.command is Command.ACK and one.time in self._times for one in found
            )
        self._kcp.current = self._milliseconds(now)
        self._kcp.receive_data(datagram)

    def received(self) -> bytes:
        """The next bytes that came; b"" if there are none yet."""
        while (data := self._kcp.next_event()) is not None:
            if data:
                return bytes(data)
        return b""

    def send(self, data: bytes) -> None:
        """Send bytes, with the next :meth:`flush`; see :attr:`has_room` first."""
        self._kcp.send(data)

    def flush(self, now: float) -> list[bytes]:
        """The datagrams that are to be sent now.

        To be called every ``opt_interval`` while something is :attr:`waiting`.
        """
        self._kcp.current = self._milliseconds(now)
        self._kcp.flush()
        return self._taken()

    def _taken(self) -> list[bytes]:
        made, self._out[:] = self._out[:], []
        return made if self.proven else [one for one in made if self._may_send(one)]

    def _may_send(self, datagram: bytes) -> bool:
        if len(datagram) > self._credit:
            return False  # as if it were lost: it is sent again
        self._credit -= len(datagram)
        self._times |= {one.time for one in segments(datagram) if one.command is Command.PUSH}
        return True

    def _milliseconds(self, now: float) -> int:
        return (int(now * 1000) + self._offset) & _MASK
