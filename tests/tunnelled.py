"""What stands at the ends of tunnels in tests: applications that listen, and that connect."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import Person, at_terminal

PATIENCE_S = 60.0
DATAGRAM_SIZES = (1400, 0, 1, 9000, 65507)

EVERYWHERE_HERE = "127.0.0.2"
"""An address of this machine that is not the one called localhost."""


# Who listens


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    """Say everything again, and end when the other end does."""
    async with stream:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()


@asynccontextmanager
async def echo_server(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A port of this machine that says everything again."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host=host))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def echo_at(path: Path) -> AsyncIterator[None]:
    """A Unix socket that says everything again."""
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [trio.SocketListener(listener)])
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def datagram_server(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A UDP port of this machine that answers each datagram."""
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))

        async def serve() -> None:
            while True:
                data, source = await sock.recvfrom(65535)
                await sock.sendto(answer(data), source)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield sock.getsockname()[1]
            nursery.cancel_scope.cancel()


# Who connects


async def connect_when_open(where: int | Path, host: str = "127.0.0.1") -> trio.SocketStream:
    """Connect to a port, or to a path, that will be listened on soon."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                return await connect(where, host)
            except OSError:
                await trio.sleep(0.01)


async def connect(where: int | Path, host: str = "127.0.0.1") -> trio.SocketStream:
    """Connect to a port, or to a path."""
    if isinstance(where, int):
        return await trio.open_tcp_stream(host, where)
    return await trio.open_unix_socket(str(where))


def nobody_listens(port: int, host: str = "127.0.0.1") -> bool:
    """True if a connection to there is refused now."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, port)) == errno.ECONNREFUSED


async def exchange(stream: trio.SocketStream, data: bytes) -> bytes:
    """Say it, end, and return all that comes back."""
    answer = bytearray()
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        nursery.start_soon(say)
        async for part in stream:
            answer += part
    return bytes(answer)


async def carries(where: int | Path, size: int = 100_000, host: str = "127.0.0.1") -> None:
    """Check that an echo is at the end of the tunnel that begins there, or soon will."""
    data = os.urandom(size)
    with trio.fail_after(PATIENCE_S):
        async with await connect_when_open(where, host) as stream:
            assert await exchange(stream, data) == data


async def echoes(where: int | Path, size: int = 500_000) -> None:
    """Check the same without an end of one direction alone, which ET has not."""
    data = os.urandom(size)
    answer = bytearray()
    with trio.fail_after(30):
        async with await connect_when_open(where) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            while len(answer) < size:
                part = await stream.receive_some()
                assert part, f"ended after {len(answer)} bytes"
                answer += part
    assert answer == data


async def datagrams_carry(port: int, host: str = "127.0.0.1") -> None:
    """Check that datagrams come back from the tunnel that begins there, or soon will."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.connect((host, port))
        for size in DATAGRAM_SIZES:
            said = os.urandom(size)
            with trio.fail_after(PATIENCE_S):
                while await asked(sock, said) != said:
                    pass  # the answer to what was asked twice


async def asked(sock: trio.socket.SocketType, said: bytes) -> bytes:
    """Say a datagram until there is an answer, which is what applications of UDP do."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await sock.send(said)
                with trio.move_on_after(0.2):
                    return await sock.recv(65535)
            except ConnectionRefusedError:
                await trio.sleep(0.01)  # nobody listens yet


# SOCKS


async def socks5(stream: trio.SocketStream, host: str, port: int) -> int:
    """Ask for a connection, by name; return the reply's code (RFC 1928)."""
    await stream.send_all(b"\5\1\0")
    assert await read_exactly(stream, 2) == b"\5\0"
    name = host.encode()
    await stream.send_all(b"\5\1\0\3" + bytes([len(name)]) + name + struct.pack("!H", port))
    version, reply, *_ = await read_exactly(stream, 10)
    assert version == 5
    return reply


async def socks4a(stream: trio.SocketStream, host: str, port: int) -> int:
    """Ask for a connection, by name; return the reply's code, 90 for granted."""
    head = b"\4\1" + struct.pack("!H", port) + b"\0\0\0\1" + b"somebody\0"
    await stream.send_all(head + host.encode() + b"\0")
    return (await read_exactly(stream, 8))[1]


async def read_exactly(stream: trio.SocketStream, count: int) -> bytes:
    """Read so many bytes."""
    data = b""
    with trio.fail_after(PATIENCE_S):
        while len(data) < count:
            part = await stream.receive_some(count - len(data))
            assert part, f"ended after {data!r}"
            data += part
    return data


# The session between


@asynccontextmanager
async def session(
    far_side: FarSide, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Person]:
    """Somebody at the terminal of a session."""
    environment = {**far_side.environment, **(env or {})}
    async with at_terminal(far_side.connect(*arguments), environment) as person:
        yield person


def configure(far_side: FarSide, lines: Sequence[str]) -> None:
    """Write it into the ssh configuration of the far side's host."""
    with far_side.sshd.ssh_config_path.open("a") as config:
        config.writelines(f"  {line}\n" for line in lines)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


def has_ipv6() -> bool:
    """True if this machine has ::1."""
    try:
        with closing(socket.socket(socket.AF_INET6)) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def mode(path: Path) -> int:
    """The permissions of what is there."""
    return stat.S_IMODE(path.stat().st_mode)
