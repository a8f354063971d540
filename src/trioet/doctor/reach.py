"""Can this machine reach another's port, and does a trioet or ET server answer there?

For `trioet check`, which a jumphost is asked with. Standard library only.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any, Final

CONNECT_S: Final = 5.0
"""For each address; as the doctor itself has it (trioet.doctor.probe.CONNECT_DEADLINE_S)."""

ANSWER_S: Final = 2.0

MOST_ADDRESSES: Final = 4

MOST_ANSWER: Final = 64
"""Bytes of an answer that are told: a refusal has ten."""

STRANGER: Final = b"XXX" + b"0" * 13
"""A client id that nobody has: real ones never begin so (Eternal Terminal specification 2.2)."""

_BODY: Final = b"\x0a" + bytes([len(STRANGER)]) + STRANGER + b"\x10\x06"
REQUEST: Final = struct.pack("<q", len(_BODY)) + _BODY
"""A ConnectRequest with this id, of protocol version 6, framed (1.1, 1.2)."""


def look(host: str, port: int) -> dict[str, Any]:
    """Try the addresses of a host, one after the other, until one is reached.

    ``state`` is ``connected``, with ``answer`` in hexadecimal, or ``refused``, ``dropped`` or
    ``unreachable``, with ``words``: of the last address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        return {"state": "unreachable", "words": words or "unknown name"}
    told: dict[str, Any] = {}
    for family, kind, protocol, _, address in found[:MOST_ADDRESSES]:
        with socket.socket(family, kind, protocol) as sock:
            told = _try(sock, address)
        if told["state"] == "connected":
            break
    return told


def _try(sock: socket.socket, address: tuple[Any, ...]) -> dict[str, Any]:
    sock.settimeout(CONNECT_S)
    try:
        sock.connect(address)
    except ConnectionRefusedError:
        return {"state": "refused"}
    except TimeoutError:
        return {"state": "dropped"}
    except OSError as error:
        return {"state": "unreachable", "words": os.strerror(error.errno or 0)}
    answer = b""
    sock.settimeout(ANSWER_S)
    try:
        sock.sendall(REQUEST)
        while len(answer) < MOST_ANSWER and (data := sock.recv(MOST_ANSWER)):
            answer += data
    except OSError:
        pass  # what came until then is told
    return {"state": "connected", "answer": answer[:MOST_ANSWER].hex()}
