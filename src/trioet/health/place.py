"""Where an endpoint listens, and who may speak to it there.

A management port that strangers reach is a hole, so there are three kinds of places:
loopback and Unix sockets, which only this machine reaches, and the rest, for which a
token is needed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from typing import Final

from trioet.errors import LocalError, UsageError
from trioet.health.secret_file import read_secret

BACKLOG: Final = 32
MIN_TOKEN: Final = 16
"""Characters."""
MAX_TOKEN: Final = 1024

_PLACE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[\w.-]+)):(?P<port>\d{1,5})"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A Unix socket's ``path``, or a ``host`` and a ``port``."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def private(self) -> bool:
        """Whether only this machine can reach it, and a web page cannot lead there unseen."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False


def parse_place(text: str) -> Place:
    """Read ``127.0.0.1:6620``, ``[::1]:6620``, ``localhost:6620`` or ``unix:/run/x.sock``.

    Raises:
      UsageError: it is none of these.
    """
    path = text.removeprefix("unix:")
    if path.startswith("/") and "\0" not in path:
        return Place(path=path)
    match = _PLACE.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise UsageError(
            f"{text!r} is no place to listen at; write 127.0.0.1:6620, [::1]:6620 or "
            "unix:/run/name.sock"
        )
    return Place(host=match["v6"] or match["host"], port=int(match["port"]))


def listen(place: Place, token: str | None) -> socket.socket:
    """Open the place. A Unix socket is for this user only; one whose owner died is replaced.

    Raises:
      UsageError: strangers could reach it, and there is no token.
      LocalError: it cannot be had.
    """
    if not place.private and token is None:
        raise UsageError(
            f"{place} can be reached by strangers: give a token file, or choose 127.0.0.1 or a "
            "Unix socket (unix:/run/name.sock)"
        )
    try:
        if place.path:
            return _listen_local(place.path)
        found = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(found[0][4], family=found[0][0], backlog=BACKLOG)
    # What can be no name at all, like one with two dots in a row, is a UnicodeError.
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise LocalError(f"cannot listen on {place}: {why}") from error


def _listen_local(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        if _abandoned(path):
            os.unlink(path)
        # Between bind and chmod nobody can connect: it does not listen yet.
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except FileNotFoundError:
        pass
    return False


def read_token(path: str) -> str:
    """Read what a caller must show, from a file that strangers cannot read.

    Raises:
      UsageError: the file cannot be read, strangers can read it, or it holds no good token.
    """
    token = read_secret(path, MIN_TOKEN, MAX_TOKEN).decode("ascii", "replace")
    if not re.fullmatch(r"[!-~]+", token):
        raise UsageError(f"{path}: a token is of printable ASCII characters without blanks")
    return token
