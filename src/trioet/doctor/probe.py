"""Is a port reached from here, at one address, and does a trioet or ET server answer?

A ConnectRequest with an id that nobody has is answered INVALID_KEY, and opens nothing. With
an unknown field it may be as long as we like: so long that it does not fit one packet, it
tells whether full packets get through.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import Final, NamedTuple

import trio

from trioet.bootstrap.credentials import new_real_credentials
from trioet.bootstrap.plain import plain
from trioet.errors import PeerError
from trioet.wire.framing import MAX_HANDSHAKE_FRAME, handshake_frame
from trioet.wire.handshake import Handshake
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    encode_connect_request,
)

CONNECT_DEADLINE_S: Final = 5.0
"""A round trip takes 0.3 s at most, and a lost SYN is sent again after 1 and 3 s."""

ANSWER_DEADLINE_S: Final = 10.0
"""A router that has just started lets strangers wait for 8 s (trioet.link.door.PARK_S)."""

PARKED_S: Final = 7.0
"""Whoever hangs up after this long, and within PARK_S, is such a router."""

SILENCE_S: Final = 2.0
"""Then we say that nothing more will come: other servers show what they are by that."""

FULL: Final = 3800
"""Bytes of padding: more than two of Ethernet's packets, less than MAX_HANDSHAKE_FRAME."""

PADDING: Final = b"\xfa\xf9\x01" + bytes((FULL & 0x7F | 0x80, FULL >> 7)) + bytes(FULL)
"""A protobuf field of number 3999, of bytes; other implementations pass over it."""

MAX_SHOWN: Final = 60

_IP_MTU: Final = 14
_IPV6_MTU: Final = 24
"""linux/in.h, linux/in6.h: what the kernel has found the path to take."""


class Reached(Enum):
    """How far a probe came."""

    SPEAKS = "speaks ET"
    """Such a server is there."""

    MISMATCHED = "other protocol version"
    STRANGER = "something else"
    """It answered, and not as such a server does."""

    SILENT = "silent"
    CLOSED = "closed"
    """Connected, then closed without an answer."""

    PARKED = "parked"
    """The same, after as long as a router that has just started lets a stranger wait."""

    REFUSED = "refused"
    """The machine is reached, or a firewall says so in its name; nobody listens."""

    DROPPED = "dropped"
    """No answer at all."""

    UNREACHABLE = "unreachable"


class Probe(NamedTuple):
    """What came of one."""

    reached: Reached
    words: str = ""
    """The system's or the stranger's own."""

    mtu: int | None = None
    """Bytes of the largest packet on the way there, as far as the kernel knows."""

    mss: int | None = None
    """Bytes of data in the largest packet, as both ends agreed (TCP_MAXSEG)."""

    @property
    def connected(self) -> bool:
        """A TCP connection came about."""
        return self.reached not in (Reached.REFUSED, Reached.DROPPED, Reached.UNREACHABLE)


async def probe(family: int, address: tuple[str, int], *, full: bool = False) -> Probe:
    """Try one address; never takes longer than both deadlines.

    ``full``: send full packets. Cancellation leaves nothing open.
    """
    with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            with trio.fail_after(CONNECT_DEADLINE_S):
                await sock.connect(address)
        except trio.TooSlowError:
            return Probe(Reached.DROPPED)
        except ConnectionRefusedError:
            return Probe(Reached.REFUSED)
        except TimeoutError:
            return Probe(Reached.DROPPED)
        except OSError as error:
            return Probe(Reached.UNREACHABLE, error.strerror or str(error))
        reached, words = Reached.SILENT, ""
        try:
            with trio.move_on_after(ANSWER_DEADLINE_S):
                reached, words = await _converse(sock, full)
        except TimeoutError:
            pass  # what we sent was never acknowledged
        except OSError:
            reached = Reached.CLOSED
        return Probe(reached, words, _mtu(sock), _mss(sock))


def request(*, full: bool = False) -> bytes:
    """The ConnectRequest of a stranger; ``full``: as long as may be."""
    stranger = ConnectRequest(new_real_credentials().client_id.encode())
    body = encode_connect_request(stranger) + (PADDING if full else b"")
    assert len(body) <= MAX_HANDSHAKE_FRAME
    return handshake_frame(body)


def read_answer(data: bytes) -> tuple[Reached, str] | None:
    """What the first bytes of a server say of it; None: not enough of them."""
    try:
        events = Handshake.client().feed(data)
    except PeerError:
        return Reached.STRANGER, plain(data)[:MAX_SHOWN]
    for event in events:
        if isinstance(event, ConnectResponse):
            mismatched = event.status is ConnectStatus.MISMATCHED_PROTOCOL
            return Reached.MISMATCHED if mismatched else Reached.SPEAKS, plain(event.error)
    return None


async def _converse(sock: trio.socket.SocketType, full: bool) -> tuple[Reached, str]:
    stream = trio.SocketStream(sock)
    try:
        await stream.send_all(request(full=full))
    except trio.BrokenResourceError:
        return Reached.CLOSED, ""
    answer, patience_s, began = b"", SILENCE_S, trio.current_time()
    while True:
        data = None
        with trio.move_on_after(patience_s):
            data = await sock.recv(4096)
        if data is None and patience_s == SILENCE_S:
            sock.shutdown(socket.SHUT_WR)
            patience_s = ANSWER_DEADLINE_S
        elif not data and answer:
            return Reached.STRANGER, plain(answer)[:MAX_SHOWN]
        elif not data:
            waited = trio.current_time() - began >= PARKED_S
            return Reached.PARKED if waited else Reached.CLOSED, ""
        elif (verdict := read_answer(answer := answer + data)) is not None:
            return verdict


def _mtu(sock: trio.socket.SocketType) -> int | None:
    level, option = socket.IPPROTO_IP, _IP_MTU
    if sock.family == socket.AF_INET6:
        level, option = socket.IPPROTO_IPV6, _IPV6_MTU
    return _option(sock, level, option)


def _mss(sock: trio.socket.SocketType) -> int | None:
    return _option(sock, socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def _option(sock: trio.socket.SocketType, level: int, option: int) -> int | None:
    try:
        return sock.getsockopt(level, option)
    except OSError:
        return None  # no longer connected
