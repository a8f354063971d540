"""The least that a remote shell on Trio can be: bytes there, bytes back, and nothing else.

No key, no packets, no reconnecting, no reading of what passes: `python -m bench.least
server PORT` runs a shell on a pty for whoever connects, `client PORT` is its terminal.
What it takes for a key to come back, any program on Trio takes at least.
"""

from __future__ import annotations

import os
import pty
import socket
import sys
import termios
import tty

import trio

CHUNK = 65536


async def carry(source: int, sink: int) -> None:
    """Until there is no more."""
    while True:
        await trio.lowlevel.wait_readable(source)
        try:
            data = os.read(source, CHUNK)
        except OSError:  # the shell has ended
            return
        if not data:
            return
        os.write(sink, data)


async def join(near_in: int, near_out: int, far: int) -> None:
    """Both ways, until one way ends."""
    async with trio.open_nursery() as nursery:

        async def one_way(source: int, sink: int) -> None:
            await carry(source, sink)
            nursery.cancel_scope.cancel()

        nursery.start_soon(one_way, near_in, far)
        nursery.start_soon(one_way, far, near_out)


async def serve(port: int) -> None:
    """A shell for each connection."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    await trio.serve_listeners(serve_one, listeners)


async def serve_one(stream: trio.SocketStream) -> None:
    """A shell for this one."""
    child, master = pty.fork()
    if child == 0:
        shell = os.environ.get("SHELL", "/bin/sh")
        os.execv(shell, [f"-{os.path.basename(shell)}"])
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = stream.socket.fileno()
    try:
        await join(number, number, master)
    finally:
        stream.socket.close()
        hang_up(master, child)


def hang_up(master: int, child: int) -> None:
    """End a shell; nobody else is served meanwhile."""
    os.close(master)
    os.waitpid(child, 0)


def connect(port: int) -> None:
    """Be the terminal of a shell there."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mode = termios.tcgetattr(0)
        tty.setraw(0)
        try:
            trio.run(join, 0, 1, sock.fileno())
        finally:
            termios.tcsetattr(0, termios.TCSAFLUSH, mode)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        trio.run(serve, int(sys.argv[2]))
    else:
        connect(int(sys.argv[2]))
