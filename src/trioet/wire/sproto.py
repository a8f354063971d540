"""The announcement that goscon makes to a backend: who the client is, in sproto's 0-packing.

goscon's description, 5.5, and https://github.com/cloudwu/sproto ("Wire protocol", "0
pack"). It is one message: a package header (type, session, ud), then a body of two
strings, the client's address and ours; both are packed together, behind two bytes of
length.
"""

from __future__ import annotations

import struct
from typing import Final

from trioet.wire.proxy_protocol import Address

MAX_TYPE: Final = 0x7FFE
"""A number up to here stands in its field itself; larger ones would be data behind."""

GROUP: Final = 8
"""Bytes that are packed together: one byte says which of them are not zero."""

MOST_GROUPS: Final = 256
"""Without a zero among them, that one count byte can tell of."""

NEARLY_FULL: Final = 6
"""Bytes of a group that are not zero, from which it costs less among full ones than packed."""


def announcement(message_type: int, client: Address, local: Address) -> bytes:
    """What goes to the backend first. ``message_type`` is of the application's own schema."""
    # Fields: a value is doubled, plus 2; an odd number skips; 0 says that data is behind.
    header = struct.pack("<4H", 3, 2 * (message_type + 1), 1, 2)
    texts = [_text(client), _text(local)]
    body = struct.pack("<3H", 2, 0, 0)
    body += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    packed = pack(header + body)
    return struct.pack(">H", len(packed)) + packed


def pack(data: bytes) -> bytes:
    """Sproto's 0-packing: zeros are left out. What is no multiple of 8 is filled with them."""
    groups = [data[at : at + GROUP].ljust(GROUP, b"\0") for at in range(0, len(data), GROUP)]
    packed, at = b"", 0
    while at < len(groups):
        if 0 in groups[at]:
            packed += _packed(groups[at])
            at += 1
            continue
        end = at + 1
        while end < len(groups) and end - at < MOST_GROUPS and _filled(groups[end]):
            end += 1
        packed += bytes((0xFF, end - at - 1)) + b"".join(groups[at:end])
        at = end
    return packed


def _packed(group: bytes) -> bytes:
    mask = sum(1 << position for position, byte in enumerate(group) if byte)
    return bytes((mask,)) + bytes(byte for byte in group if byte)


def _filled(group: bytes) -> bool:
    return GROUP - group.count(0) >= NEARLY_FULL


def _text(address: Address) -> bytes:
    """As Go writes an address; IPv4 as such, also if a socket of both families tells it."""
    host, port = address
    host = host.removeprefix("::ffff:") if "." in host else host
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
