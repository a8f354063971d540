"""asyncssh over eternal streams: an ssh connection that does not notice that the network moved.

asyncssh speaks asyncio, so it runs in a thread and is given one end of a socket pair; the other
is Trio's. No change to asyncssh, none to the stream.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Coroutine
from functools import partial
from typing import TypeVar

import asyncssh
import trio

import trioet

T = TypeVar("T")


def run_in_asyncio(main: Coroutine[object, object, T]) -> T:
    """`asyncio.run`, with asyncio's own loop even where trio-asyncio was imported."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


async def join(stream: trio.abc.HalfCloseableStream, near: socket.socket) -> None:
    """Carry bytes both ways until both have ended."""
    local = trio.SocketStream(trio.socket.from_stdlib_socket(near))
    async with local, trio.open_nursery() as nursery:
        nursery.start_soon(carry, stream, local)
        nursery.start_soon(carry, local, stream)


async def carry(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # whoever reads there no longer wants it


class Server(asyncssh.SSHServer):
    """Lets everybody in: who is here had the stream's key."""

    def begin_auth(self, username: str) -> bool:
        return False


async def count(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """The only command: send back what comes, and say at the end how much that was."""
    total = 0
    while data := await process.stdin.read(65536):
        process.stdout.write(data)
        await process.stdout.drain()
        total += len(data)
    process.stderr.write(b"%d bytes" % total)
    process.exit(0)


async def serve_ssh(host_key: asyncssh.SSHKey, stream: trioet.EternalStream) -> None:
    """A handler for ``serve_eternal``."""

    async def serve(far: socket.socket) -> None:
        connection = await asyncssh.run_server(
            far,
            server_factory=Server,
            server_host_keys=[host_key],
            process_factory=count,
            encoding=None,
        )
        await connection.wait_closed()

    near, far = socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, stream, near)
        await trio.to_thread.run_sync(run_in_asyncio, serve(far))


async def run_command(
    stream: trioet.EternalStream, known: asyncssh.SSHKey, data: bytes
) -> tuple[bytes, bytes]:
    """Give a command ``data``; return what it says on stdout and stderr."""

    async def run(far: socket.socket) -> tuple[bytes, bytes]:
        keys = asyncssh.import_known_hosts(f"* {known.export_public_key().decode()}")
        options = {"known_hosts": keys, "config": None, "client_keys": None, "agent_path": None}
        async with asyncssh.connect("eternal", sock=far, username="you", **options) as connection:
            done = await connection.run("count", input=data, encoding=None)
            assert isinstance(done.stdout, bytes)
            assert isinstance(done.stderr, bytes)
            return done.stdout, done.stderr

    near, far = socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, stream, near)
        said = await trio.to_thread.run_sync(run_in_asyncio, run(far))
    return said


async def main() -> None:
    psk, host_key = secrets.token_bytes(32), asyncssh.generate_private_key("ssh-ed25519")
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[trioet.EternalServer]) -> None:
            handler = partial(serve_ssh, host_key)
            await trioet.serve_eternal(handler, 0, psk=psk, task_status=task_status)

        server = await nursery.start(serve)
        async with trioet.open_eternal_stream("localhost", server.port, psk=psk) as stream:
            print(await run_command(stream, host_key, b"hello"))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
