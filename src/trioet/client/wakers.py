"""What makes a reconnect likely to succeed now: the network changed, the machine woke.

Both cost nothing while nothing happens, and do nothing where the system does not tell.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from typing import Final

import trio

RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV4_ROUTE: Final = 0x40
RTMGRP_IPV6_IFADDR: Final = 0x100
RTMGRP_IPV6_ROUTE: Final = 0x400
"""Groups of rtnetlink(7): links, addresses and routes."""

BURST_S: Final = 0.05
"""A change of network comes as a burst of messages; it wakes once."""

TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2
_FAR_FUTURE: Final = 2**40
"""Seconds since 1970: a timer that never expires by itself."""


async def watch_network(wake: Callable[[], None]) -> None:
    """Call ``wake`` after every change of links, addresses or routes, until cancelled."""
    if sys.platform != "linux":
        return
    groups = (
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE
        | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
    )  # fmt: skip
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        return
    with netlink:
        try:
            netlink.bind((0, groups))
        except OSError:
            return
        netlink.setblocking(False)
        await follow_changes(netlink, wake)


async def follow_changes(source: socket.socket, wake: Callable[[], None]) -> None:
    """Call ``wake`` once for each burst of messages at ``source``, until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(source)
        await trio.sleep(BURST_S)
        _drain(source)
        wake()


def _drain(source: socket.socket) -> None:
    while True:
        try:
            source.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue  # ENOBUFS: messages were lost, which says only that there were some


async def watch_resume(wake: Callable[[], None]) -> None:
    """Call ``wake`` when the machine returns from suspend, until cancelled.

    The kernel cancels a timer on the real-time clock when that clock is set, which a
    resume does (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    timer: int = libc.timerfd_create(0, os.O_NONBLOCK | os.O_CLOEXEC)  # 0: CLOCK_REALTIME
    if timer < 0:
        return
    try:
        while True:
            if not _arm(libc, timer):
                return
            await trio.lowlevel.wait_readable(timer)
            try:
                os.read(timer, 8)
            except BlockingIOError:
                continue
            except OSError:  # ECANCELED: the clock was set
                wake()
    finally:
        os.close(timer)


def _arm(libc: ctypes.CDLL, timer: int) -> bool:
    never = (ctypes.c_long * 4)(0, 0, _FAR_FUTURE, 0)  # struct itimerspec: interval, value
    flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    return bool(libc.timerfd_settime(timer, flags, ctypes.byref(never), None) == 0)
