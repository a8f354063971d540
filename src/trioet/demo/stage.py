"""Everything that a session needs, on one machine and without root: the demo's stage.

An embedded ssh server, a router, a keeper, and between client and router a network that
is cut. All of it is the real thing; only the host at the other end is this one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import trio

from trioet.bootstrap import asyncssh_bridge
from trioet.bootstrap.asyncssh_server import generate_key, serve_embedded_ssh
from trioet.bootstrap.credentials import bootstrap_line, new_credentials
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.remote_command import remote_command
from trioet.bootstrap.spawn import SshTarget
from trioet.demo.cutter import Cutter
from trioet.server.local import bind_local
from trioet.server.places import (
    check_socket_place,
    keeper_socket,
    make_runtime_dir,
    router_socket_to_serve,
)
from trioet.server.router import Router

HOST = "demo"
REPLAY_MEMORY = 256 * 1024 * 1024
KEEPERS_END_S = 10.0
"""How long a keeper may take to end its sessions, before it is killed."""


@dataclass(frozen=True)
class Stage:
    """What is set up: where ssh leads, and the network that fails."""

    ssh: SshTarget
    cutter: Cutter
    port: int

    async def invite(self) -> Invitation:
        """Have a session opened, by ssh, as `trioet connect` does."""
        line = bootstrap_line(new_credentials(), os.environ.get("TERM", ""))
        return await asyncssh_bridge.run(self.ssh, remote_command(), line)


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """Set everything up, and take it all down again, files and processes included.

    Raises:
      LocalError: there is no place for its sockets.
    """
    directory = tempfile.mkdtemp(prefix="demo-", dir=make_runtime_dir())
    previous = os.environ.get("TRIOET_RUNTIME_DIR")
    os.environ["TRIOET_RUNTIME_DIR"] = directory
    try:
        check_socket_place(router_socket_to_serve())  # told now, and not out of a nursery
        async with _open_keeper(), trio.open_nursery() as nursery:
            router_port = await _start_router(nursery)
            cutter = Cutter(router_port)
            port = await nursery.start(cutter.serve)
            ssh = await _start_ssh(nursery, directory)
            yield Stage(ssh, cutter, port)
            nursery.cancel_scope.cancel()
    finally:
        if previous is None:
            del os.environ["TRIOET_RUNTIME_DIR"]
        else:
            os.environ["TRIOET_RUNTIME_DIR"] = previous
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _open_keeper() -> AsyncIterator[None]:
    """A keeper, for as long as the stage stands; it ends however that ends.

    It notices by its stdin, the other end of which is ours alone: also when we are killed.
    """
    keeper = await _start_keeper()
    assert keeper.stdin is not None
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await keeper.stdin.aclose()
            with trio.move_on_after(KEEPERS_END_S):
                await keeper.wait()
            keeper.kill()  # does nothing to one that has ended
            await keeper.wait()


async def _start_keeper() -> trio.Process:
    """Start a keeper as a child of ours, where `trioet terminal` will look for one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(keeper_socket())
        listener.listen(8)
        fd = listener.fileno()
        command = [sys.executable, "-P", "-m", "trioet.cli.main", "keeper"]
        command += ["--listen-fd", str(fd), "--end-with-stdin"]
        with _keeper_log() as log_file:
            return await trio.lowlevel.open_process(
                command, pass_fds=[fd], stdin=subprocess.PIPE, stdout=log_file, stderr=log_file
            )


def _keeper_log() -> BinaryIO:
    return open(os.path.join(make_runtime_dir(), "keeper.log"), "wb")


async def _start_router(nursery: trio.Nursery) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    router = Router(port=port, replay_memory=REPLAY_MEMORY)
    nursery.start_soon(router.serve_keepers, bind_local(router_socket_to_serve(), 0o600))
    nursery.start_soon(router.door.serve, listener)
    return port


async def _start_ssh(nursery: trio.Nursery, directory: str) -> SshTarget:
    host_key, user_key = generate_key(), generate_key()
    command = [sys.executable, "-P", "-m", "trioet.cli.main", "terminal"]
    port = await nursery.start(serve_embedded_ssh, host_key, user_key.public, command)
    _write_private(directory, "key", user_key.private)
    _write_private(directory, "known_hosts", f"[127.0.0.1]:{port} {host_key.public}")
    _write_private(
        directory,
        "config",
        f"Host {HOST}\n HostName 127.0.0.1\n Port {port}\n"
        f" IdentityFile {directory}/key\n IdentitiesOnly yes\n IdentityAgent none\n"
        f" UserKnownHostsFile {directory}/known_hosts\n GlobalKnownHostsFile none\n"
        " StrictHostKeyChecking yes\n",
    )
    return SshTarget(HOST, config_file=os.path.join(directory, "config"))


def _write_private(directory: str, name: str, text: str) -> None:
    descriptor = os.open(os.path.join(directory, name), os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
