"""A channel through asyncssh, for whoever has no ssh program.

Import it only when needed: asyncssh takes 200 ms. Part of the asyncssh bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import asyncssh
import trio

from trioet.bootstrap.asyncio_border import in_asyncio
from trioet.bootstrap.asyncssh_bridge import CHUNK, find_route, logged_in
from trioet.bootstrap.asyncssh_host_keys import Hop
from trioet.bootstrap.plain import plain
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_channel import (
    End,
    Forbidden,
    Manner,
    SshFailed,
    SshNeedsUser,
    channel_sockets,
    explained,
    nobody_there,
)
from trioet.bootstrap.ssh_config import SshConfig
from trioet.errors import StepFailed

A_SECRET = "for a key or a password"
"""What asyncssh does not tell more exactly."""


class AsyncsshChannel:
    """A login of its own, and one channel in it."""

    def __init__(self, target: SshTarget, config: SshConfig, end: End, manner: Manner) -> None:
        """``config`` is the target's. asyncssh shares no connection, whatever the manner."""
        self._target = target
        self._config = config
        self._end = end
        self._asks = manner.asks
        self.socket, self._its = channel_sockets()
        self._closed = trio.Event()
        self._ended = trio.Event()
        self._failure = SshFailed("the server closed the connection")

    async def run(self) -> None:
        """Log in, open the channel, and carry what goes through it; until closed or cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry)
            await self._closed.wait()
            nursery.cancel_scope.cancel()

    async def _carry(self) -> None:
        try:
            route = await find_route(self._target, self._config, asks=self._asks)
            await in_asyncio(lambda: _carry(route, self._end, self._its))
        except SshFailed as error:
            self._failure = error
        except StepFailed as error:
            denied = isinstance(error.__cause__, asyncssh.PermissionDenied)
            self._failure = SshNeedsUser(A_SECRET) if denied else SshFailed(error.what)
        finally:
            self._its.close()
            self._ended.set()

    def close(self) -> None:
        """End it, soon. Idempotent."""
        self.socket.close()
        self._closed.set()

    async def failure(self) -> SshFailed:
        """Why it has ended."""
        await self._ended.wait()
        return self._failure


async def _carry(route: list[Hop], end: End, its: socket.socket) -> None:
    """In asyncio: connect the socket with the end of the way, until that ends.

    Raises:
      SshFailed: the channel does not open, or is lost.
      StepFailed: there is no login.
    """
    async with logged_in(route) as connection:
        near_reader, near_writer = await asyncio.open_unix_connection(sock=its)
        try:
            if end.command:
                await _carry_command(connection, end.command, near_reader, near_writer)
            else:
                # By name, as ssh -W has it: sshd tries what it means there.
                reader, writer = await connection.open_connection("localhost", end.port)
                await _copy_both_ways(near_reader, near_writer, reader, writer)
        except asyncssh.ChannelOpenError as error:
            reason = plain(error.reason)
            if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise Forbidden(reason) from error
            raise nobody_there(reason) from error
        except (asyncssh.Error, OSError) as error:
            raise SshFailed(plain(str(error)) or "the connection was lost") from error
        finally:
            near_writer.close()


async def _carry_command(
    connection: asyncssh.SSHClientConnection,
    command: str,
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
) -> None:
    process = await connection.create_process(command, encoding=None, request_pty=False)
    try:
        await _copy_both_ways(near_reader, near_writer, process.stdout, process.stdin)
        said = [plain(line) for line in (await process.stderr.read()).splitlines()]
        await process.wait_closed()
        raise explained([line for line in said if line], process.exit_status)
    finally:
        process.close()


async def _copy_both_ways(
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    reader: asyncssh.SSHReader[bytes],
    writer: asyncssh.SSHWriter[bytes],
) -> None:
    """Copy until the far side has ended."""

    async def copy_up() -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await near_reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    up = asyncio.create_task(copy_up())
    try:
        while data := await reader.read(CHUNK):
            near_writer.write(data)
            await near_writer.drain()
    finally:
        up.cancel()
