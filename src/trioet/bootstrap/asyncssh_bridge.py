"""Bootstrap without an ssh program: by asyncssh.

Import it only when needed: asyncssh takes 200 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, TypeVar

import asyncssh
import trio

from trioet.bootstrap import openssh
from trioet.bootstrap.asyncio_border import in_asyncio
from trioet.bootstrap.asyncssh_config import read_config
from trioet.bootstrap.asyncssh_host_keys import Hop, HostKeys
from trioet.bootstrap.asyncssh_login import Login
from trioet.bootstrap.host import parse_host
from trioet.bootstrap.invitation import AnswerReader, Invitation, InvitationReader
from trioet.bootstrap.plain import plain
from trioet.bootstrap.remote_command import EXIT_MISSING
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_config import SshConfig, expand
from trioet.errors import StepFailed, UsageError

T = TypeVar("T")

MAX_HOPS: Final = 8

CHUNK: Final = 65536

FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

CONNECT_TIMEOUT_S: Final = 20.0
"""For one host, when ssh's configuration says nothing."""

LOGIN_TIMEOUT_S: Final = 120.0
"""For all questions of one host; sshd itself allows no more."""


async def run(target: SshTarget, command: str, line: bytes) -> Invitation:
    """Fetch an invitation in one go, without an ssh program.

    Cancellation closes the connection, and leaves a terminal that was being asked on as
    it was.

    Raises:
      StepFailed: no connection, no login, a host key not to be trusted, no invitation.
      PeerError: the invitation makes no sense.
    """
    config = await fetch_ssh_config(target)
    route = await find_route(target, config)
    _log(target.verbose)
    with trio.move_on_after(openssh.INVITATION_DEADLINE_S):
        return await in_asyncio(lambda: _fetch(route, command, line))
    what = f"no invitation came from {target.host} within {openssh.INVITATION_DEADLINE_S:g} s"
    raise StepFailed("ssh", what, "does a start-up file of the shell there wait for something?")


async def fetch_ssh_config(target: SshTarget) -> SshConfig:
    """Ask ``ssh -G`` if there is an ssh program, else asyncssh.

    Raises:
      StepFailed: the configuration cannot be read.
    """
    if shutil.which("ssh") is not None:
        return await openssh.fetch_ssh_config(target)
    return read_config(target)


async def find_route(
    target: SshTarget, config: SshConfig, *, hops: int = 1, asks: bool = True
) -> list[Hop]:
    """The hosts on the way, the target last: its ProxyJump, and that of the first of those.

    ``asks``: the user may be asked and told things on the way.

    Raises:
      StepFailed: it has no end, or is one that asyncssh cannot go.
    """
    jumps = config.proxy_jump.split(",") if config.proxy_jump else []
    if hops + len(jumps) > MAX_HOPS:
        what = f"the way to {target.host} has more than {MAX_HOPS} hosts"
        raise StepFailed("ssh", what, "does a ProxyJump lead back to where it began?")
    if config.known_hosts_command is not None:
        what = f"{target.host} has a KnownHostsCommand, which asyncssh cannot run"
        raise StepFailed("ssh", what, "use --ssh-backend openssh")
    route: list[Hop] = []
    for index, jump in enumerate(jumps):
        jump_target = _jump_target(jump, target)
        jump_config = await fetch_ssh_config(jump_target)
        if index == 0:
            route = await find_route(jump_target, jump_config, hops=hops + len(jumps), asks=asks)
        else:
            route.append(Hop(jump_target.host, jump_config, asks))
    return [*route, Hop(target.host, config, asks)]


def _jump_target(text: str, target: SshTarget) -> SshTarget:
    try:
        jump = parse_host(text.removeprefix("ssh://"))
    except UsageError as error:
        raise StepFailed("ssh", f"ProxyJump of {target.host}: {error}") from error
    if jump.more_ports:
        raise StepFailed("ssh", f"ProxyJump of {target.host}: sshd has one port")
    port = () if jump.port is None else (f"Port={jump.port}",)
    return SshTarget(jump.host, jump.user, config_file=target.config_file, options=port)


def _log(verbose: int) -> None:
    """What `ssh -v` would tell. Level 3 of asyncssh shows data, so passkeys: never that."""
    if verbose:
        logging.basicConfig()
        asyncssh.set_log_level(logging.INFO if verbose == 1 else logging.DEBUG)
        asyncssh.set_debug_level(min(verbose, 2))


@contextlib.asynccontextmanager
async def logged_in(route: Sequence[Hop]) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """For asyncio: a connection to the last host of a route, as long as the context lasts.

    Raises:
      StepFailed: a host cannot be reached, is not to be trusted, or does not let us in.
    """
    async with all_logged_in(route) as connections:
        yield connections[-1]


@contextlib.asynccontextmanager
async def all_logged_in(
    route: Sequence[Hop],
) -> AsyncIterator[Sequence[asyncssh.SSHClientConnection]]:
    """As :func:`logged_in`, with the connections to all hosts of the route, each through those
    before it."""
    async with contextlib.AsyncExitStack() as at_end:
        connections: list[asyncssh.SSHClientConnection] = []
        for hop in route:
            tunnel = connections[-1] if connections else None
            with _told_as_unreachable(hop):
                connections.append(await _connect(hop, tunnel, at_end))
        yield connections


async def _fetch(route: list[Hop], command: str, line: bytes) -> Invitation:
    async with logged_in(route) as connection:
        host = route[-1].host
        try:
            reader = InvitationReader(host)
            return await read_answer(connection, route[-1], command, line, reader)
        except (asyncssh.Error, OSError) as error:
            reason = _reason(error) if isinstance(error, OSError) else plain(str(error))
            what = f"the connection to {host} was lost before an invitation came: {reason}"
            raise StepFailed("ssh", what, f"does `ssh {host} true` work?") from error


async def _connect(
    hop: Hop,
    tunnel: asyncssh.SSHClientConnection | None,
    connections: contextlib.AsyncExitStack,
) -> asyncssh.SSHClientConnection:
    host_keys = HostKeys(hop)
    host_keys.load()
    try:
        return await _connect_once(hop, host_keys, tunnel, connections)
    except asyncssh.HostKeyNotVerifiable as error:
        not_verifiable = error
    if not await host_keys.ask():
        raise host_keys.refusal() from not_verifiable
    return await _connect_once(hop, host_keys, tunnel, connections)


async def _connect_once(
    hop: Hop,
    host_keys: HostKeys,
    tunnel: asyncssh.SSHClientConnection | None,
    connections: contextlib.AsyncExitStack,
) -> asyncssh.SSHClientConnection:
    config = hop.config
    proxy = None
    if config.proxy_command is not None and tunnel is None:
        command = expand(config.proxy_command, config, hop.host)
        proxy = _start_proxy(command, connections)
    async with asyncio.timeout(config.connect_timeout_s or CONNECT_TIMEOUT_S) as patience:
        connection = await asyncssh.connect(
            config.hostname,
            config.port,
            username=config.user,
            config=None,
            tunnel=tunnel or (),
            sock=proxy,
            family=FAMILIES.get(config.address_family, socket.AF_UNSPEC),
            known_hosts=host_keys.known,
            host_key_alias=config.host_key_alias,
            client_factory=lambda: Login(hop, host_keys, patience),
            client_keys=None,
            login_timeout=LOGIN_TIMEOUT_S,
        )
    connections.push_async_callback(_hang_up, connection)
    return connection


def _start_proxy(command: str, connections: contextlib.AsyncExitStack) -> socket.socket:
    """Run a ProxyCommand; return a socket to it.

    By ourselves: asyncssh does not wait for the program's end, and then the loop is gone
    that is told of it.
    """
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"], stdin=its.fileno(), stdout=its.fileno()
        )
    connections.push_async_callback(_end_proxy, process)
    return connections.enter_context(ours)


async def _end_proxy(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    await asyncio.to_thread(process.wait)


async def _hang_up(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(connection.wait_closed(), openssh.ENDING_GRACE_S)
    connection.abort()


@contextlib.contextmanager
def _told_as_unreachable(hop: Hop) -> Iterator[None]:
    config, hint = hop.config, f"does `ssh {hop.host} true` work, if you have an ssh program?"
    try:
        yield
    except asyncssh.PermissionDenied as error:
        what = f"{hop.host} refuses to log in {config.user}: no key or password that it accepts"
        raise StepFailed("ssh", what, hint) from error
    except TimeoutError as error:
        what = f"{hop.host} ({config.hostname} port {config.port}) does not answer"
        raise StepFailed("ssh", what, hint) from error
    except OSError as error:
        reason = _reason(error)
        what = f"{hop.host} ({config.hostname} port {config.port}) cannot be reached: {reason}"
        raise StepFailed("ssh", what, hint) from error
    except (asyncssh.Error, ValueError) as error:
        what = f"ssh to {hop.host} failed: {plain(str(error))}"
        raise StepFailed("ssh", what, hint) from error


def _reason(error: OSError) -> str:
    """The system's own words; asyncio puts others in their place."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def read_answer(
    connection: asyncssh.SSHClientConnection,
    hop: Hop,
    command: str,
    line: bytes,
    reader: AnswerReader[T],
) -> T:
    """For asyncio: run a command on a host that was logged in to, and read its answer.

    Raises:
      StepFailed, PeerError: it has none, or one that makes no sense.
      asyncssh.Error, OSError: the connection was lost.
    """
    process = await connection.create_process(command, encoding=None, request_pty=False)
    complaints = asyncio.create_task(_show(process.stderr, aloud=hop.asks))
    try:
        # If the command is gone already, its exit status says more than a broken pipe.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line)
            process.stdin.write_eof()
        answer = await _read(process.stdout, reader)
        with contextlib.suppress(TimeoutError):
            ended = asyncio.gather(process.wait_closed(), complaints)
            await asyncio.wait_for(ended, openssh.ENDING_GRACE_S)
    finally:
        complaints.cancel()
        process.close()
    if answer is not None:
        return answer
    if process.exit_status == EXIT_MISSING:
        raise reader.missing()
    if process.exit_signal is not None:
        raise reader.no_answer(f"the command was ended by SIG{process.exit_signal[0]}")
    if process.exit_status is None:
        raise reader.no_answer("the connection was lost")
    raise reader.no_answer(f"the command ended with exit status {process.exit_status}")


async def _read(output: asyncssh.SSHReader[bytes], reader: AnswerReader[T]) -> T | None:
    while True:
        patience_s = openssh.DETAILS_GRACE_S if reader.marker_seen else None
        data = b""
        with contextlib.suppress(TimeoutError):
            data = await asyncio.wait_for(output.read(CHUNK), patience_s)
        if not data:
            return reader.end()
        if answer := reader.feed(data):
            return answer


async def _show(complaints: asyncssh.SSHReader[bytes], *, aloud: bool) -> None:
    while data := await complaints.read(CHUNK):
        for line in data.splitlines() if aloud else ():
            print(plain(line), file=sys.stderr)
