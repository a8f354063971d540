"""What makes a reconnect likely to succeed now: the network changed, the machine woke.

Both cost nothing while nothing happens, and do nothing where the system does not tell.
Sources: rtnetlink(7) and netlink(7) for the messages, timerfd_create(2) for the clock.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable, Hashable, Iterator
from struct import Struct
from typing import Final

import trio

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""Links, and the addresses and routes of IPv4 and IPv6 (RTMGRP_…)."""

_DELETED: Final = frozenset({17, 21, 25})  # RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE

_NEW_ROUTE: Final = 24
_REPLACES: Final = 0x100  # NLM_F_REPLACE

MESSAGE: Final = Struct("=IHHII")  # length, type, flags, sequence, sender
_LINK: Final = Struct("=BxHiII")  # family, type, index, flags, changed flags
_ADDRESS: Final = Struct("=BBBBI")  # family, prefix, flags, scope, index
ROUTE: Final = Struct("=BBBBBBBBI")  # family, …, table, protocol, scope, type, flags
_ATTRIBUTE: Final = Struct("=HH")  # length, type

_USABLE: Final = 0x1 | 0x40 | 0x10000  # IFF_UP, IFF_RUNNING, IFF_LOWER_UP
_CLONED: Final = 0x200  # a route the kernel remembers for one destination
_TABLE, _LOCAL_TABLE = 4, 255  # of routes that follow the addresses
_ADDRESS_ITSELF: Final = (1, 2)  # IFA_ADDRESS, IFA_LOCAL
_ADDRESS_LIFETIME: Final = 6
_ROUTE_LIFETIME: Final = 12

MAX_KNOWN: Final = 4096
"""Links, addresses and routes that are remembered; a router may have a million routes."""

BURST_S: Final = 0.02
"""A change comes as a burst of messages. The first wakes, for it may be all that is needed;
so do those that follow, when this time has passed, then twice this time, and so on."""

MAX_BURST_S: Final = 1.0
"""The longest pause between two wakes, however long a burst goes on."""

_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2
_CLOCK_REALTIME: Final = 0
_NEVER: Final = min(sys.maxsize, 2**40)
"""Seconds since 1970: a time that does not come."""


class NetworkChanges:
    """Tell changes of the network from mere news of it.

    Routers renew the lifetime of addresses every few minutes, and a wireless interface
    announces each scan: neither is a reason to do anything.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Hashable] = {}

    def feed(self, datagram: bytes) -> bool:
        """Take what one receive from a route socket gave; True if something changed."""
        changed = False
        at = 0
        while at + MESSAGE.size <= len(datagram):
            length, kind, how, *_ = MESSAGE.unpack_from(datagram, at)
            if length < MESSAGE.size:
                break
            news = _understood(kind, datagram[at + MESSAGE.size : at + length])
            if news is not None:
                changed |= self._learn(*news, deleted=kind in _DELETED)
                # What took another's place is news each time: the other's end is not told.
                changed |= kind == _NEW_ROUTE and bool(how & _REPLACES)
            at += (length + 3) & ~3
        return changed

    def _learn(self, which: Hashable, state: Hashable, *, deleted: bool) -> bool:
        if deleted:
            self._known.pop(which, None)
            return True
        if which in self._known and self._known[which] == state:
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[which] = state
        return True


def _understood(kind: int, body: bytes) -> tuple[Hashable, Hashable] | None:
    """What a message is about, and what matters of what it says; None if nothing does."""
    match kind:
        case 16 | 17 if len(body) >= _LINK.size:
            family, _, index, flags, _ = _LINK.unpack_from(body)
            # Other families have news of their own, a bridge of its ports.
            return (index, flags & _USABLE) if family == socket.AF_UNSPEC else None
        case 20 | 21 if len(body) >= _ADDRESS.size:
            family, prefix, flags, scope, index = _ADDRESS.unpack_from(body)
            told = dict(attributes(body[_ADDRESS.size :]))
            told.pop(_ADDRESS_LIFETIME, None)
            address = tuple(told.get(each) for each in _ADDRESS_ITSELF)
            return (family, prefix, index, address), (flags, scope, *sorted(told.items()))
        case 24 | 25 if len(body) >= ROUTE.size:
            *head, flags = ROUTE.unpack_from(body)
            told = dict(attributes(body[ROUTE.size :]))
            told.pop(_ROUTE_LIFETIME, None)
            is_news = head[_TABLE] != _LOCAL_TABLE and not flags & _CLONED
            return ((*head, *sorted(told.items())), None) if is_news else None
    return None


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


async def watch_network(wake: Callable[[], None]) -> None:
    """Call ``wake`` after every change of links, addresses or routes, until cancelled.

    Returns at once where the system does not tell: not Linux, or a sandbox.
    """
    if sys.platform != "linux":
        return
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        return
    with netlink:
        try:
            netlink.bind((0, _GROUPS))
        except OSError:
            return
        await follow_changes(netlink, wake)


async def follow_changes(source: socket.socket, wake: Callable[[], None]) -> None:
    """Call ``wake`` for changes told at ``source``, ever more rarely while they go on.

    Runs until cancelled.
    """
    source.setblocking(False)
    changes = NetworkChanges()
    while True:
        await trio.lowlevel.wait_readable(source)
        pause = BURST_S
        while _drain(source, changes):
            wake()
            await trio.sleep(pause)
            pause = min(2 * pause, MAX_BURST_S)


def _drain(source: socket.socket, changes: NetworkChanges) -> bool:
    """Take all that ``source`` has to tell; True if something changed."""
    changed = False
    while True:
        try:
            changed |= changes.feed(source.recv(65536))
        except BlockingIOError:
            return changed
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            changed = True  # there was more than the kernel could keep for us


async def watch_resume(wake: Callable[[], None]) -> None:
    """Call ``wake`` when the machine returns from suspend, until cancelled.

    A timer on the real-time clock can be told to end when that clock is set, which a
    resume does. Setting the clock by hand wakes too, and does no harm. Returns at once
    where there are no such timers.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    timer: int = libc.timerfd_create(_CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        return
    try:
        if not _arm(libc, timer):
            return
        while True:
            await trio.lowlevel.wait_readable(timer)
            try:
                os.read(timer, 8)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.ECANCELED:
                    raise
                wake()
    finally:
        os.close(timer)


def _arm(libc: ctypes.CDLL, timer: int) -> bool:
    """Start the timer; False if the kernel does not know how. Once is enough: it tells of
    every time the clock is set, and starting it again would drop what it has to tell."""
    never = (ctypes.c_long * 4)(0, 0, _NEVER, 0)  # struct itimerspec: interval, value
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    if libc.timerfd_settime(timer, flags, ctypes.byref(never), None) == 0:
        return True
    return ctypes.get_errno() == errno.ECANCELED  # set since the timer was made: it runs
