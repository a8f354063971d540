"""A small ssh server inside the process, for a demonstration on one machine.

Part of the asyncssh bridge. It listens on loopback only, knows one key, and does one
thing: whatever command is asked for, it runs the one it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import asyncssh
import trio

from trioet.bootstrap.asyncio_border import in_asyncio

CHUNK: Final = 65536
LOGIN_TIMEOUT_S: Final = 30.0
ENDING_GRACE_S: Final = 2.0
EXIT_NOT_RUN: Final = 127


class _Source(Protocol):
    async def read(self, n: int, /) -> bytes: ...


class _Sink(Protocol):
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ssh key, as the texts that OpenSSH's files hold."""

    private: str = field(repr=False)
    public: str


def generate_key(comment: str = "trioet") -> KeyPair:
    """Make a new Ed25519 key, in memory."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment)
    return KeyPair(
        key.export_private_key("openssh").decode(), key.export_public_key("openssh").decode()
    )


async def serve_embedded_ssh(
    host_key: KeyPair,
    authorized_key: str,
    run_command: Sequence[str],
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ssh on a free port of 127.0.0.1, for ever; ``started`` gives the port.

    Who holds the key to ``authorized_key`` (a public one) gets ``run_command`` run, with
    its stdin, stdout and stderr. Cancellation closes all connections and kills what runs.
    """
    server = _EmbeddedServer(host_key, authorized_key, run_command)
    await in_asyncio(partial(server.run, task_status))


class _EmbeddedServer:
    def __init__(self, host_key: KeyPair, authorized_key: str, run_command: Sequence[str]) -> None:
        self._host_key = asyncssh.import_private_key(host_key.private)
        self._authorized = asyncssh.import_authorized_keys(authorized_key)
        self._run_command = run_command
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._children: dict[asyncio.Task[Any], _Child] = {}

    async def run(self, task_status: trio.TaskStatus[int]) -> None:
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            config=None,
            server_factory=partial(_Guest, self._connections),
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            agent_forwarding=False,
            allow_pty=False,
            login_timeout=LOGIN_TIMEOUT_S,
            process_factory=self._serve_process,
            encoding=None,
        )
        async with contextlib.AsyncExitStack() as at_end:
            at_end.push_async_callback(self._end_all)
            at_end.callback(acceptor.close)
            _tell_started(task_status, acceptor.get_port())
            await asyncio.Event().wait()

    async def _end_all(self) -> None:
        """Leave nothing behind: the loop closes next, and then nobody is told of an end."""
        for connection in list(self._connections):
            connection.abort()
        for child in self._children.values():
            child.kill()
        if self._children:
            await asyncio.wait(self._children, timeout=ENDING_GRACE_S)

    async def _serve_process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.command is None:
            process.stderr.write(b"This server runs one command and no shell.\n")
            process.exit(EXIT_NOT_RUN)
            return
        try:
            child = _Child(self._run_command)
        except OSError as error:
            process.stderr.write(f"{self._run_command[0]}: {error.strerror}\n".encode())
            process.exit(EXIT_NOT_RUN)
            return
        task = asyncio.current_task()
        assert task is not None
        self._children[task] = child
        try:
            process.exit(await child.serve(process))
        finally:
            del self._children[task]


class _Child:
    """A running command, and sockets to its streams.

    Not a subprocess of asyncio's: closed loops are told of the ends of those.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Raises OSError if it cannot be run."""
        self._streams, its_streams = socket.socketpair()
        self._errors, its_errors = socket.socketpair()
        try:
            with its_streams, its_errors:
                both = its_streams.fileno()
                self._process = subprocess.Popen(
                    command, stdin=both, stdout=both, stderr=its_errors.fileno()
                )
        except OSError:
            self._streams.close()
            self._errors.close()
            raise

    def kill(self) -> None:
        """End it; ``serve`` returns soon after."""
        self._process.kill()

    async def serve(self, client: asyncssh.SSHServerProcess[bytes]) -> int:
        """Carry bytes until the command's output ends; return its exit status.

        A client that leaves closes the streams: the command notices, as under sshd.
        """
        output, to_input = await asyncio.open_connection(sock=self._streams)
        errors, to_errors = await asyncio.open_connection(sock=self._errors)
        typing = asyncio.create_task(_type(client.stdin, to_input))
        try:
            # The first to fail ends both: there is no client any more.
            await asyncio.gather(_pump(output, client.stdout), _pump(errors, client.stderr))
        except (OSError, asyncssh.Error):
            pass
        finally:
            typing.cancel()
            to_input.close()
            to_errors.close()
        status: int = await asyncio.to_thread(self._process.wait)
        return status if status >= 0 else 128 - status


async def _type(source: asyncssh.SSHReader[bytes], to_input: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        await _pump(source, to_input)
        to_input.write_eof()


async def _pump(source: _Source, sink: _Sink) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()


class _Guest(asyncssh.SSHServer):
    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)


def _tell_started(task_status: trio.TaskStatus[int], port: int) -> None:
    if trio.lowlevel.in_trio_run():
        task_status.started(port)
    else:  # asyncio has a thread of its own
        trio.from_thread.run_sync(task_status.started, port)
