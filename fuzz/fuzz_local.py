"""What a local user may send to the router's registration socket: server/local.py, router.py."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import suppress

import trio
from harness import Target, instrumented

with instrumented():
    from trioet.errors import MessageError
    from trioet.server.local import LocalChannel, parse_message
    from trioet.server.router import MAX_ID, MAX_IDS_PER_USER, Registration, Router

logging.disable()


def take(data: bytes) -> None:
    """Each line is one message of one keeper."""
    trio.run(_register, data.split(b"\n"))


async def _register(messages: list[bytes]) -> None:
    router = Router(port=2022, replay_memory=1 << 20)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        registration = Registration(LocalChannel(ours))
        assert router.welcome(registration)
        for message in messages:
            with suppress(MessageError):
                router.take(registration, parse_message(message, ()))
        assert len(registration.ids) <= MAX_IDS_PER_USER
        assert all(len(name) <= MAX_ID for name in registration.ids)
        router.forget(registration)
        assert "keepers=0 ids=0" in repr(router)
        registration.channel.close()


TARGET = Target(
    take,
    seeds=[
        json.dumps({"v": 1, "add": ["abcdefgh12345678"]}).encode(),
        b'{"v":1,"add":["a","b"]}\n{"v":1,"remove":["a"]}\n{"new":{}}',
        b'{"v":2,"add":[1]}',
        b'{"add":"a"}',
        b"[]",
    ],
)

if __name__ == "__main__":
    TARGET.run()
