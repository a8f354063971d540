from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trioet.bootstrap import asyncssh_bridge, asyncssh_server, openssh
from trioet.bootstrap.asyncio_border import in_trio_loop, in_worker_thread
from trioet.bootstrap.asyncssh_server import generate_key, serve_embedded_ssh
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed

MARKER = f"IDPASSKEY:{'a' * 16}/{'b' * 32}"
INVITATION = Invitation("a" * 16, "b" * 32)
SOON_S = 20

CONFIG = """\
Host demo
  HostName 127.0.0.1
  Port {port}
  User anybody
  IdentityFile {directory}/key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {directory}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
"""


@pytest.fixture(params=[in_trio_loop, in_worker_thread], autouse=True)
def border(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to run asyncio, whichever this Python's own is."""
    monkeypatch.setattr(asyncssh_server, "in_asyncio", request.param)
    monkeypatch.setattr(asyncssh_bridge, "in_asyncio", request.param)


@asynccontextmanager
async def serving(directory: Path, *command: str) -> AsyncIterator[SshTarget]:
    host_key, user_key = generate_key(), generate_key()
    private = directory / "key"
    private.touch(mode=0o600)
    private.write_text(user_key.private)
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_embedded_ssh, host_key, user_key.public, command)
            (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key.public}")
            config = directory / "config"
            config.write_text(CONFIG.format(port=port, directory=directory))
            yield SshTarget("demo", config_file=str(config))
            nursery.cancel_scope.cancel()


async def ssh(target: SshTarget, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    assert target.config_file is not None
    done = await trio.run_process(
        ["ssh", "-F", target.config_file, *arguments],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_key_is_what_openssh_understands_and_its_repr_keeps_it_secret(tmp_path: Path) -> None:
    key = generate_key()
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(key.private)

    shown = subprocess.run(["ssh-keygen", "-y", "-f", path], stdout=subprocess.PIPE, check=True)

    assert shown.stdout.split()[:2] == key.public.encode().split()[:2]
    assert key.private not in repr(key)
    assert generate_key().private != key.private


async def test_real_ssh_gets_an_invitation(tmp_path: Path) -> None:
    async with serving(tmp_path, "sh", "-c", f"read line; echo $line; echo {MARKER}") as target:
        assert await openssh.run(target, "anything", b"line\n") == INVITATION


async def test_asyncssh_gets_an_invitation(tmp_path: Path) -> None:
    async with serving(tmp_path, "sh", "-c", f"read line; echo $line; echo {MARKER}") as target:
        assert await asyncssh_bridge.run(target, "anything", b"line\n") == INVITATION


async def test_all_streams_and_the_exit_status_are_those_of_the_command(tmp_path: Path) -> None:
    async with serving(tmp_path, "sh", "-c", "cat; echo words >&2; exit 7") as target:
        data = os.urandom(300_000)

        assert await ssh(target, "demo", "x", stdin=data) == (7, data, b"words\n")


async def test_a_command_ended_by_a_signal_has_the_status_that_shells_give_it(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "sh", "-c", "kill -TERM $$") as target:
        assert (await ssh(target, "demo", "x"))[0] == 128 + 15


async def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, "/nowhere/trioet") as target:
        status, _, error = await ssh(target, "demo", "x")

    assert (status, error) == (127, b"/nowhere/trioet: No such file or directory\n")


async def test_there_is_no_shell_no_terminal_and_no_forwarding(tmp_path: Path) -> None:
    async with serving(tmp_path, "echo", "ran") as target:
        assert (await ssh(target, "demo"))[0] == 127
        assert b"PTY allocation request failed" in (await ssh(target, "-tt", "demo", "x"))[2]
        assert (await ssh(target, "-W", "127.0.0.1:1", "demo"))[0] == 255


async def test_nobody_else_gets_in(tmp_path: Path) -> None:
    async with serving(tmp_path, "echo", "ran") as target:
        (tmp_path / "key").write_text(generate_key().private)

        status, output, error = await ssh(target, "-o", "BatchMode=yes", "demo", "x")
        assert (status, output) == (255, b"")
        assert b"Permission denied" in error
        with pytest.raises(StepFailed, match="refuses to log in anybody"):
            await asyncssh_bridge.run(target, "x", b"line\n")


async def test_the_host_proves_who_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path, "echo", "ran") as target:
        (tmp_path / "known_hosts").write_text("")

        with pytest.raises(StepFailed, match="not trusted"):
            await asyncssh_bridge.run(target, "x", b"line\n")


async def test_a_command_does_not_outlive_its_client(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; while :; do echo more; done"
    async with serving(tmp_path, "sh", "-c", script) as target:
        assert target.config_file is not None
        argv = ["ssh", "-F", target.config_file, "demo", "x"]
        client = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
        assert client.stdout is not None
        await client.stdout.receive_some(1)
        client.kill()
        await client.wait()
        await client.stdout.aclose()

        pid = int((tmp_path / "pid").read_text())
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await trio.sleep(0.01)


async def test_cancellation_closes_connections_and_kills_what_runs(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 1000"
    async with trio.open_nursery() as nursery, serving(tmp_path, "sh", "-c", script) as target:
        nursery.start_soon(ssh, target, "demo", "x")
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110
            await trio.sleep(0.01)

    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
