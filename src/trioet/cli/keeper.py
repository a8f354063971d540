"""`trioet keeper`: holds a user's sessions. `trioet terminal` starts it."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import socket
from collections.abc import Callable

import trio

from trioet import __version__
from trioet.cli.private import keep_private
from trioet.server.keeper import Keeper
from trioet.server.places import keeper_socket
from trioet.session.descriptors import raise_limit

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run a keeper until it has been without sessions for a while."""
    parser = argparse.ArgumentParser(
        prog="trioet keeper",
        description="Hold the sessions of one user. `trioet terminal` starts it when needed, "
        "and it ends by itself ten minutes after the last session.",
    )
    parser.add_argument(
        "--listen-fd", type=int, required=True, help="descriptor of the socket to serve"
    )
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="be stopped by the end of stdin, too"
    )
    options = parser.parse_args(argv)
    keep_private()
    raise_limit()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # trio's tasks report what ends a session; a hang-up of the terminal we came from is none.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log.info("keeper %d of trioet %s", os.getpid(), __version__)
    os.set_inheritable(options.listen_fd, False)
    listener = socket.socket(fileno=options.listen_fd)
    trio.run(_serve, listener, options.end_with_stdin)
    return 0


async def _serve(listener: socket.socket, end_with_stdin: bool) -> None:
    path = keeper_socket()
    keeper = Keeper()
    async with trio.open_nursery() as nursery:

        def end() -> None:
            keeper.end_sessions("the keeper of this user's sessions was stopped")
            nursery.cancel_scope.cancel()

        nursery.start_soon(_end_on_sigterm, end)
        if end_with_stdin:
            nursery.start_soon(_end_with_stdin, end)
        await keeper.run(listener)
        nursery.cancel_scope.cancel()
    _remove(path)


async def _end_on_sigterm(end: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            end()


async def _end_with_stdin(end: Callable[[], None]) -> None:
    """Nobody writes there: all that can be read is the end."""
    await trio.lowlevel.wait_readable(0)
    end()


def _remove(path: str) -> None:
    """Remove our socket, unless a successor has taken its place already."""
    lock = os.open(path + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) != 0 and os.path.lexists(path):
                os.unlink(path)
    finally:
        os.close(lock)
