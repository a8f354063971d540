"""What a router may say to a keeper: server/registration.py."""

from __future__ import annotations

import logging
import socket
import tempfile
from pathlib import Path

import trio
from harness import Target, instrumented
from trio.testing import wait_all_tasks_blocked

with instrumented():
    from trioet.server.local import bind_local
    from trioet.server.registration import RouterRegistration

logging.disable()


def take(data: bytes) -> None:
    """Each line is one message; every second one brings a descriptor."""
    trio.run(_follow, [line for line in data.split(b"\n") if line])


async def _follow(messages: list[bytes]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = str(Path(directory, "router"))
        with bind_local(path, 0o600) as listener:
            await _tell(path, listener, messages)


async def _tell(path: str, listener: socket.socket, messages: list[bytes]) -> None:
    shares: list[int] = []
    registration = RouterRegistration(path, lambda _id, sock, _preface: sock.close(), shares.append)
    assert await registration.connect()
    router, _ = listener.accept()
    ours, handed_over = socket.socketpair()
    ours.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registration.run)
        with router, handed_over:
            for number, message in enumerate(messages[:64]):
                try:
                    if number % 2:
                        router.send(message)
                    else:
                        socket.send_fds(router, [message], [handed_over.fileno()])
                except OSError:
                    break
                await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with ours:
        assert ours.recv(1) == b"", "somebody still holds what was handed over"


TARGET = Target(
    take,
    seeds=[
        b'{"v":1,"replay_memory":1000000}\n{"v":1,"port":2022,"refused":[]}',
        b'{"v":1,"port":1,"refused":["abcdefgh12345678"]}\n{"new":{}}',
        b'{"arrival":"abcdefgh12345678"}\n{"arrival":7}\n{"arrival":"x","port":[]}',
        b'{"port":"1e5"}\n[]\n{"replay_memory":-1.5}',
    ],
)

if __name__ == "__main__":
    TARGET.run()
