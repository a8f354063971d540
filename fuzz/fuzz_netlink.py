"""What the kernel tells of the network: client/wakers.py, and of a way: client/routes.py."""

from __future__ import annotations

import struct

from harness import Target, instrumented

with instrumented():
    from trioet.client.routes import read_way
    from trioet.client.wakers import NetworkChanges


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def take(data: bytes) -> None:
    network = NetworkChanges()
    network.feed(data)
    network.feed(data[::-1])
    hash(read_way(data))


ADDRESS = struct.pack("=BBBBI", 2, 24, 0, 0, 2)
ROUTE = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 3, 0, 1, 0)

TARGET = Target(
    take,
    seeds=[
        message(16, struct.pack("=BxHiII", 0, 1, 2, 0x11043, 0)),
        message(20, ADDRESS + attribute(1, bytes(4)) + attribute(6, bytes(16))),
        message(24, ROUTE + attribute(1, bytes(4))) + message(25, ROUTE),
        message(21, ADDRESS) + message(3, b""),
    ],
    refusals=(),
)

if __name__ == "__main__":
    TARGET.run()
