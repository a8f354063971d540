"""`trioet scon connect`: a backend behind an SCP server, on stdin and stdout or at a local port."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from dataclasses import dataclass
from typing import Final

import trio

from trioet.client.console import Console, open_console
from trioet.errors import LocalError, StepFailed, UsageError
from trioet.scon.config import read_key
from trioet.scon.local import Near, NearSocket, carry
from trioet.scon.opening import open_scon_stream
from trioet.scon.policy import Secure
from trioet.scon.session import HIDE_ADDRESS

log = logging.getLogger(__name__)

_PLACE: Final = re.compile(r"(?:(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\s\[\]]*)):)?([0-9]{1,5})")


@dataclass(frozen=True)
class Wish:
    """Where to, and how."""

    host: str
    port: int
    target: bytes
    flags: int
    secure: Secure
    psk: bytes


def main(argv: list[str]) -> int:
    """Connect; return the exit status.

    Raises:
      UsageError: the command line cannot be followed.
      StepFailed: no session could be had, or it was lost.
    """
    options = build_parser().parse_args(argv)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="trioet: %(message)s", stream=sys.stderr)
    host, port = parse_place(options.place, "")
    if not host:
        raise UsageError(f"{options.place}: write HOST:PORT")
    wish = Wish(
        host,
        port,
        options.target.encode(),
        HIDE_ADDRESS if options.hide_address else 0,
        Secure(options.secure),
        read_key(options.psk_file) if options.psk_file else b"",
    )
    if b"\n" in wish.target:
        raise UsageError("--target is a name, of one line")
    if options.listen:
        trio.run(listen, wish, *parse_place(options.listen, "127.0.0.1"))
    else:
        trio.run(connect, wish)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet scon connect",
        description="Reach a backend behind a goscon or a `trioet scon serve`, over a connection "
        "that is replaced as often as it must be: on stdin and stdout, or at a local port.",
    )
    parser.add_argument("place", metavar="HOST:PORT", help="where the server is")
    parser.add_argument(
        "--target", metavar="NAME", default="", help="which of its backends (it chooses)"
    )
    parser.add_argument(
        "--listen",
        metavar="[ADDR:]PORT",
        help="carry every connection to this port, each in a session of its own (127.0.0.1)",
    )
    parser.add_argument(
        "--secure",
        choices=[mode.value for mode in Secure],
        default=Secure.OFFERED.value,
        help="seal the session: if the server can (offered), or not without (required)",
    )
    parser.add_argument(
        "--psk-file", metavar="FILE", help="a key that the server has too; for sealed sessions"
    )
    parser.add_argument(
        "--hide-address", action="store_true", help="ask that the backend not be told ours"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    return parser


def parse_place(text: str, default: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``.

    Raises:
      UsageError: it is not one.
    """
    found = _PLACE.fullmatch(text)
    if not found or not 0 < int(found[3]) < 65536:
        raise UsageError(f"{text}: write HOST:PORT; an IPv6 address in brackets")
    return found[1] or found[2] or default, int(found[3])


class _NearConsole:
    """stdin and stdout."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def read(self, max_bytes: int) -> bytes:
        return await self._console.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self._console.write(data)

    async def end(self) -> None:
        """It ends with this program."""


async def connect(wish: Wish) -> None:
    """Carry stdin and stdout.

    Raises:
      StepFailed: no session could be had, or it was lost.
      LocalError: nobody reads the output any more.
    """
    with open_console(raw=False) as console:
        await _carry(wish, _NearConsole(console))


async def listen(wish: Wish, address: str, port: int) -> None:
    """Carry every connection to a local port, until cancelled.

    Raises:
      StepFailed: the port cannot be had.
    """

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await _carry(wish, NearSocket(stream))
            except LocalError as error:
                log.warning("%s", error)

    try:
        await trio.serve_tcp(serve, port, host=address)
    except OSError as error:
        why = error.strerror or error
        raise StepFailed("listen", f"cannot listen on {address} port {port}: {why}") from error


async def _carry(wish: Wish, near: Near) -> None:
    where = f"{wish.host} port {wish.port}"
    failure: BaseException | None = None
    try:
        async with open_scon_stream(
            wish.host,
            wish.port,
            wish.target,
            flags=wish.flags,
            secure=wish.secure,
            psk=wish.psk,
            on_state=lambda state: log.info("%s: %s", where, state or "connected"),
        ) as far:
            await carry(near, far)
    except* (trio.BrokenResourceError, LocalError) as group:
        failure = group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, LocalError):
        raise failure
    if failure is not None:
        raise StepFailed("session", f"{where}: {failure}") from failure
