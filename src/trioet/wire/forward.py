"""What is forwarded: where it listens, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

LOOPBACK: Final = "localhost"
"""To listen there means: on 127.0.0.1 and ::1, what there is of them."""

ANYWHERE: Final = "*"
"""To listen there means: on every address of every family that there is."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port. Port 0, to listen on: any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket, by its absolute path."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Variable:
    """A Unix socket that the far side makes, in a private place, and names to the session's
    programs in this environment variable (Eternal Terminal specification 5.6)."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


Endpoint = Address | UnixPath


class Side(Enum):
    """Where a forward listens, seen from the client."""

    LOCAL = "-L"
    REMOTE = "-R"


@dataclass(frozen=True, slots=True)
class Forward:
    """One tunnel, as the user wished it."""

    side: Side
    listen: Endpoint | Variable
    destination: Endpoint | None
    """None: whoever connects says where to, by SOCKS."""

    datagrams: bool = False
    """UDP instead of TCP: both ends are addresses then."""

    written: str = ""
    """How the user put it, option included: ``-L 8080:localhost:80``."""

    def __str__(self) -> str:
        if self.written:
            return self.written
        leads = f":{self.destination}" if self.destination else ""
        return f"{self.side.value} {self.listen}{leads}{'/udp' if self.datagrams else ''}"
