"""The least that a remote shell on Trio can be: bytes there, bytes back, and nothing else.

No key, no packets, no reconnecting, no reading of what passes: `python -m bench.least
server PORT,PORT` runs a shell on a pty for whoever connects to the first port (or a program,
if one is named before the ports), `client
PORT,PORT` is its terminal, and with `-L port:host:hostport` or `-R …` it has a tunnel
(least_tunnel.py) beside it. What it takes for a key to come back, any program on Trio takes
at least.
"""

from __future__ import annotations

import os
import pty
import signal
import socket
import struct
import sys
import termios
import tty
from collections.abc import Sequence
from functools import partial

import trio

from bench import least_tunnel

CHUNK = 65536

SIDES = struct.Struct(">HH")
"""Where the far side of a tunnel listens, or where it leads to; the other is 0."""


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
        while data:
            try:
                data = data[os.write(sink, data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sink)


async def join(near_in: int, near_out: int, far: int) -> None:
    """Both ways, until one way ends."""
    async with trio.open_nursery() as nursery:

        async def one_way(source: int, sink: int) -> None:
            await carry(source, sink)
            nursery.cancel_scope.cancel()

        nursery.start_soon(one_way, near_in, far)
        nursery.start_soon(one_way, far, near_out)


async def serve(port: int, tunnel_port: int, program: Sequence[str]) -> None:
    """A shell or program, or a tunnel, for each connection."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    tunnels = await trio.open_tcp_listeners(tunnel_port, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, partial(serve_one, program), listeners)
        nursery.start_soon(trio.serve_listeners, serve_tunnel, tunnels)


async def serve_one(program: Sequence[str], stream: trio.SocketStream) -> None:
    """A shell or program for this one."""
    child, master = pty.fork()
    if child == 0:
        if program:
            os.execvp(program[0], [*program])
        shell = os.environ.get("SHELL", "/bin/sh")
        os.execv(shell, [f"-{os.path.basename(shell)}"])
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = stream.socket.fileno()
    try:
        await join(number, number, master)
    finally:
        stream.socket.close()
        hang_up(master, child)


async def serve_tunnel(stream: trio.SocketStream) -> None:
    """The far side of a tunnel. It begins with where to listen and where to connect."""
    listens, leads_to = SIDES.unpack(await stream.receive_some(SIDES.size))
    line = socket.socket(fileno=os.dup(stream.socket.fileno()))
    with line:
        await least_tunnel.run(line, listens=listens, leads_to=leads_to)


async def open_tunnel(port: int, side: str, wish: str) -> None:
    """The near side of one."""
    listens, _, leads_to = wish.split(":")
    far = (0, int(leads_to)) if side == "-L" else (int(listens), 0)
    near = (int(listens), 0) if side == "-L" else (0, int(leads_to))
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.send(SIDES.pack(*far))
        await least_tunnel.run(line, listens=near[0], leads_to=near[1])


def hang_up(master: int, child: int) -> None:
    """End a shell; nobody else is served meanwhile."""
    os.close(master)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


async def be_terminal(number: int, port: int, tunnel: Sequence[str]) -> None:
    """Until the shell ends."""
    async with trio.open_nursery() as nursery:
        if tunnel:
            side, wish = tunnel
            nursery.start_soon(open_tunnel, port, side, wish)
        await join(0, 1, number)
        nursery.cancel_scope.cancel()


def connect(port: int, tunnel_port: int, tunnel: Sequence[str]) -> None:
    """Be the terminal of a shell there."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mode = termios.tcgetattr(0)
        tty.setraw(0)
        try:
            trio.run(be_terminal, sock.fileno(), tunnel_port, tunnel)
        finally:
            termios.tcsetattr(0, termios.TCSAFLUSH, mode)


if __name__ == "__main__":
    _, part, *more, ports = sys.argv
    first, second = map(int, ports.split(","))
    if part == "server":
        trio.run(serve, first, second, more)
    else:
        connect(first, second, more)
