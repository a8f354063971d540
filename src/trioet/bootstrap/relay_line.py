"""Where a jumphost shall relay to: the line on the stdin of `trioet terminal --relay`.

``host port``, and a line feed. Imports next to nothing, as all that ssh runs on the far side.
"""

from __future__ import annotations

from trioet.errors import PeerError

MAX_HOST = 255
"""Bytes of a host's name or address: what DNS allows (RFC 1035, 2.3.4)."""


def relay_line(host: str, port: int) -> bytes:
    """The line for the far side's stdin."""
    return f"{host} {port}\n".encode(errors="surrogateescape")


def parse_relay_line(line: bytes) -> tuple[str, int]:
    """Take the line apart, on the far side.

    Raises:
      PeerError: it is not such a line.
    """
    host, space, port = line.partition(b"\n")[0].rstrip(b"\r").rpartition(b" ")
    if not (space and is_relay_host(host) and is_port(port)):
        raise PeerError(
            "stdin must begin with a line `host port`, as `trioet connect --jump` sends it; "
            f"{len(line)} bytes of something else came"
        )
    return host.decode(errors="surrogateescape"), int(port)


def is_relay_host(host: bytes) -> bool:
    """True for what may be the name or address of a host: no space, nothing unprintable."""
    return 0 < len(host) <= MAX_HOST and all(byte > 0x20 and byte != 0x7F for byte in host)


def is_port(text: bytes) -> bool:
    """True for a port in decimal digits."""
    return text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536
