"""Several processes with one port: which of them holds a session is said by its id.

Each process has a *seat*, a number of twelve bits, and gives away only ids that end with
it. So whoever reads a resume knows whose it is without asking anybody, and hands the
connection itself to that process: a datagram to the socket of that seat, in a directory
that is this user's alone, with the connection as a descriptor (unix(7), SCM_RIGHTS). From
then on the first process has no part in it. This is how workers share a port, and how the
sessions of a process that was replaced live on to their end.

A process that dies takes its sessions along; its socket then refuses, and so the answer to
their clients is that there is no such session. On more machines than one, seats are given
out by Redis, and ``elsewhere`` finds them: see :mod:`trioet.scon.cluster`.
"""

from __future__ import annotations

import array
import fcntl
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

import trio

from trioet.errors import LocalError
from trioet.scon.directory import Holder

SEAT_BITS: Final = 12
SEATS: Final = 1 << SEAT_BITS
"""Seat 0 is nobody's, so that no id is 0."""

LAST_TURN: Final = (1 << (32 - SEAT_BITS)) - 1
"""Ids of one seat: a million have their turn before one comes again."""

MAX_PREFACE: Final = 128 * 1024
"""Bytes read from a connection before it was handed over: a frame, and some of what follows."""

HAND_OVER_S: Final = 5.0
"""A process that takes nothing for so long is stuck; the client comes again."""

_DESCRIPTOR: Final = array.array("i").itemsize

Elsewhere: TypeAlias = Callable[[int], Awaitable[Holder | None]]
"""Finds who has a seat on another machine. Raises OSError if it cannot be said now."""


def seat_of(session_id: int) -> int:
    """The seat whose process gave this id away."""
    return session_id % SEATS


class Seat:
    """A seat that this process has, and the socket at which connections are handed to it."""

    def __init__(self, number: int, path: str, sock: socket.socket) -> None:
        self.number = number
        self.path = path
        self.sock = sock

    def __repr__(self) -> str:
        return f"<Seat {self.number}>"

    def close(self) -> None:
        """Give the seat up: its ids are unknown from now on."""
        with suppress(OSError):
            os.unlink(self.path)
        self.sock.close()


def take_seat(directory: str, number: int | None = None) -> Seat | None:
    """Take a seat, a free one by chance if no ``number`` is given; None if it is taken.

    ``directory`` must be there, and this user's alone.

    Raises:
      LocalError: the directory cannot be used, or every seat is taken.
    """
    try:
        with _alone_in(directory):
            names = set(os.listdir(directory))
            taken = {
                seat
                for seat in range(1, SEATS)
                if _name(seat) in names and _is_taken(_path(directory, seat))
            }
            if number is None:
                free = [seat for seat in range(1, SEATS) if seat not in taken]
                if not free:
                    raise LocalError(f"all {SEATS - 1} seats in {directory} are taken")
                number = random.choice(free)
            elif number in taken:
                return None
            return _sit(_path(directory, number), number)
    except OSError as error:
        why = error.strerror or error  # the latter of a path that is too long
        raise LocalError(f"cannot use {directory} for sockets: {why}") from error


def _sit(path: str, number: int) -> Seat:
    with suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(path)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return Seat(number, path, sock)


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Nobody else takes a seat meanwhile, so what nobody listens at may be taken away."""
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_taken(path: str) -> bool:
    caller = call(path)
    if caller is not None:
        caller.close()
    return caller is not None


def _name(seat: int) -> str:
    return f"{seat:03x}.sock"


def _path(directory: str, seat: int) -> str:
    return os.path.join(directory, _name(seat))


def call(path: str) -> socket.socket | None:
    """A socket that leads to the process that has this seat; None if there is none."""
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    caller.setblocking(False)
    try:
        caller.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        caller.close()
        return None
    except BaseException:
        caller.close()
        raise
    return caller


class Neighbour:
    """Another process of this machine, as a :class:`Holder`. Used once."""

    def __init__(self, caller: socket.socket) -> None:
        self._caller = caller

    def __del__(self) -> None:
        self._caller.close()

    async def take(self, sock: socket.socket, preface: bytes) -> None:
        """Hand the connection itself over: nothing is left to be done here."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))]
        with sock, self._caller, trio.move_on_after(HAND_OVER_S):
            while True:
                try:
                    self._caller.sendmsg([preface], rights)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._caller)
                else:
                    return
        raise TimeoutError("the process that holds the session takes nothing")


class SeatDirectory:
    """Gives away ids of the own seat, and finds who has the others. Owns its seats."""

    def __init__(self, directory: str) -> None:
        self.handed_over = 0
        """Connections that were for other processes of this machine."""
        self.passed_on = 0
        """Connections that were for other machines."""
        self.elsewhere: Elsewhere | None = None
        self._directory = directory
        self._seats: list[Seat] = []
        self._turn = secrets.randbelow(LAST_TURN + 1)
        self._used: set[int] = set()

    def __repr__(self) -> str:
        return f"<SeatDirectory {self._seats} used={len(self._used)}>"

    @property
    def seat(self) -> Seat:
        """The one whose ids are given away now."""
        return self._seats[-1]

    def sit(self, seat: Seat) -> None:
        """Give away ids of this seat from now on. Those of one before it are still found here."""
        self._seats.append(seat)

    def close(self) -> None:
        """Give all seats up."""
        for seat in self._seats:
            seat.close()

    async def claim(self) -> int:
        """The next id of our seat that is free."""
        while True:
            self._turn = (self._turn + 1) & LAST_TURN
            session_id = self._turn << SEAT_BITS | self.seat.number
            if session_id not in self._used:
                self._used.add(session_id)
                return session_id

    def release(self, session_id: int) -> None:
        """The session is over."""
        self._used.discard(session_id)

    async def find(self, session_id: int) -> Holder | None:
        """Who has the seat of this id, if that is somebody else.

        Raises:
          OSError: it cannot be said now.
        """
        if self.is_own(session_id):
            return None
        neighbour = self.find_near(session_id)
        if neighbour is not None:
            self.handed_over += 1
            return neighbour
        found = await self.elsewhere(seat_of(session_id)) if self.elsewhere else None
        self.passed_on += found is not None
        return found

    def find_near(self, session_id: int) -> Neighbour | None:
        """Which other process of this machine has the seat of this id."""
        caller = call(_path(self._directory, seat_of(session_id)))
        return None if caller is None else Neighbour(caller)

    def is_own(self, session_id: int) -> bool:
        """True if no other process can have this session."""
        return any(seat.number == seat_of(session_id) for seat in self._seats)


async def receive(seat: Seat) -> tuple[socket.socket, bytes]:
    """The next connection that was handed to us, and what was read from it. Cancellation
    loses none.
    """
    while True:
        try:
            # Linux puts the descriptor into the message as a whole, or not at all.
            data, ancillary, flags, _ = seat.sock.recvmsg(
                MAX_PREFACE, socket.CMSG_SPACE(_DESCRIPTOR), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            await trio.lowlevel.wait_readable(seat.sock)
            continue
        found = array.array("i")
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found.frombytes(packed[: len(packed) - len(packed) % _DESCRIPTOR])
        if len(found) == 1 and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            return socket.socket(fileno=found[0]), data
        for descriptor in found:
            os.close(descriptor)
