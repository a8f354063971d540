"""The way through ssh, with a real sshd and whatever listens behind it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from descriptors import descriptors
from fixtures_sshd import Sshd
from trioet.bootstrap.asyncssh_channel import AsyncsshChannel
from trioet.bootstrap.openssh import fetch_ssh_config
from trioet.bootstrap.spawn import SshTarget
from trioet.bootstrap.ssh_channel import OpenChannel, SshFailed, SshNeedsUser
from trioet.bootstrap.ssh_child import SshChild
from trioet.bootstrap.ssh_way import SshWay
from trioet.link.line import Line, LineBroken
from waiting import until

HELLO = b"hello"
SOON_S = 20.0


class Echo:
    """A server that says `hi`, and then back what it hears."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.port = listener.socket.getsockname()[1]
        self.callers = 0
        self.silent = False

    async def answer(self, stream: trio.SocketStream) -> None:
        self.callers += 1
        with suppress(trio.BrokenResourceError):
            if await stream.receive_some(len(HELLO)) != HELLO:
                return
            if self.silent:
                await trio.sleep_forever()
            await stream.send_all(b"hi")
            async for data in stream:
                await stream.send_all(data)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Echo(listeners[0])
        nursery.start_soon(trio.serve_listeners, server.answer, listeners)
        yield server
        nursery.cancel_scope.cancel()


Speaker = Callable[[SshTarget], Awaitable[OpenChannel]]


async def by_openssh(target: SshTarget) -> OpenChannel:
    return partial(SshChild, target)


async def by_asyncssh(target: SshTarget) -> OpenChannel:
    return partial(AsyncsshChannel, target, await fetch_ssh_config(target))


@pytest.fixture(params=[by_openssh, by_asyncssh])
def speaker(request: pytest.FixtureRequest) -> Speaker:
    """Whoever speaks ssh."""
    chosen: Speaker = request.param
    return chosen


@asynccontextmanager
async def way(
    sshd: Sshd,
    *ports: int,
    by: Speaker = by_openssh,
    options: Sequence[str] = (),
    terminal_path: str | None = None,
) -> AsyncIterator[SshWay]:
    """A way to these ports of the far side."""
    target = SshTarget(
        sshd.host_alias, config_file=str(sshd.ssh_config_path), options=tuple(options)
    )
    async with trio.open_nursery() as nursery:
        through = SshWay(target.host, await by(target), ports, HELLO, terminal_path)
        nursery.start_soon(through.run)
        with trio.fail_after(SOON_S):
            yield through
        nursery.cancel_scope.cancel()


def forbid_forwarding(sshd: Sshd) -> None:
    key = sshd.user_key_path.with_suffix(".pub").read_text()
    (sshd.directory / "authorized_keys").write_text(f"no-port-forwarding {key}")


async def talk(line: Line) -> None:
    """Have a megabyte come back."""
    assert line.try_send(HELLO) == len(HELLO)
    assert await line.receive() == b"hi"
    data = os.urandom(1 << 20)
    heard = bytearray()

    async def say() -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[line.try_send(rest) :]
            if rest:
                await line.wait_writable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        while len(heard) < len(data):
            heard += await line.receive()
    assert heard == data


async def reason(through: SshWay) -> str:
    with pytest.raises(SshFailed) as failure:
        await through.dial()
    return str(failure.value)


def ssh_children() -> list[int]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return [
        int(pid)
        for pid in listed.split()
        if b"BatchMode=yes" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_a_channel_carries_what_is_said(sshd: Sshd, echo: Echo, speaker: Speaker) -> None:
    async with way(sshd, echo.port, by=speaker) as through:
        asked: list[bool] = []
        through.on_ask = lambda: asked.append(True)
        line = await through.dial()
        assert asked == [True]
        assert (line.source, line.peer_name) == ("local", "farside over ssh")
        await talk(line)
        line.close()


async def test_where_forwarding_is_forbidden_trioet_does_it(
    sshd: Sshd, echo: Echo, speaker: Speaker
) -> None:
    """And is found out once only."""
    sshd.install_trioet()
    forbid_forwarding(sshd)
    async with way(sshd, echo.port, by=speaker) as through:
        for _ in range(2):
            line = await through.dial()
            await talk(line)
            line.close()
        assert "stdio=True" in repr(through)


async def test_what_start_up_files_print_is_passed_over(
    sshd: Sshd, echo: Echo, speaker: Speaker
) -> None:
    sshd.install_trioet()
    forbid_forwarding(sshd)
    wrapper = sshd.put_program("noisy", 'echo "Welcome"; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    key = sshd.user_key_path.with_suffix(".pub").read_text()
    keys = sshd.directory / "authorized_keys"
    keys.write_text(f'no-port-forwarding,command="{wrapper}" {key}')
    async with way(sshd, echo.port, by=speaker) as through:
        line = await through.dial()
        await talk(line)
        line.close()


async def test_of_several_ports_the_first_that_answers_is_taken(
    sshd: Sshd, echo: Echo, free_tcp_port: int, speaker: Speaker
) -> None:
    for forbidden in (False, True):
        async with way(sshd, free_tcp_port, echo.port, by=speaker) as through:
            line = await through.dial()
            await talk(line)
            line.close()
        if not forbidden:
            sshd.install_trioet()
            forbid_forwarding(sshd)


async def test_nobody_listens_there(sshd: Sshd, free_tcp_port: int, speaker: Speaker) -> None:
    async with way(sshd, free_tcp_port, by=speaker) as through:
        assert "nothing answers at its port there: connection refused" in await reason(through)


async def test_neither_forwarding_nor_trioet_is_there(
    sshd: Sshd, echo: Echo, speaker: Speaker
) -> None:
    forbid_forwarding(sshd)
    async with way(sshd, echo.port, by=speaker) as through:
        assert "forbids to forward, and there is no trioet" in await reason(through)


async def test_a_login_that_needs_a_question_is_told(
    sshd: Sshd, echo: Echo, speaker: Speaker
) -> None:
    (sshd.directory / "authorized_keys").unlink()
    async with way(sshd, echo.port, by=speaker) as through:
        with pytest.raises(SshNeedsUser, match="would have to ask you"):
            await through.dial()


async def test_sshd_is_away(sshd: Sshd, echo: Echo, speaker: Speaker, free_tcp_port: int) -> None:
    async with way(sshd, echo.port, by=speaker, options=[f"Port={free_tcp_port}"]) as through:
        assert "connection refused" in (await reason(through)).lower()


async def test_there_is_no_ssh(
    sshd: Sshd, echo: Echo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with way(sshd, echo.port) as through:
        assert "cannot run ssh: No such file or directory" in await reason(through)


async def test_a_line_whose_ssh_is_killed_ends(sshd: Sshd, echo: Echo) -> None:
    async with way(sshd, echo.port) as through:
        line = await through.dial()
        await line.receive()
        (child,) = ssh_children()
        os.kill(child, signal.SIGKILL)
        with suppress(LineBroken):
            assert await line.receive() == b""
        line.close()
        await until(lambda: not ssh_children())


async def test_a_line_that_is_closed_leaves_no_ssh_and_no_descriptor(
    sshd: Sshd, echo: Echo, speaker: Speaker
) -> None:
    async with way(sshd, echo.port, by=speaker) as through:
        before = descriptors()
        for _ in range(3):
            (await through.dial()).close()
            await until(lambda: not ssh_children())
        await until(lambda: descriptors() == before)


async def test_cancelled_it_leaves_nothing(sshd: Sshd, echo: Echo, speaker: Speaker) -> None:
    echo.silent = True
    async with way(sshd, echo.port, by=speaker) as through, trio.open_nursery() as nursery:
        nursery.start_soon(through.dial)
        await until(lambda: echo.callers)
        nursery.cancel_scope.cancel()
    assert not ssh_children()


async def test_a_shared_connection_that_hangs_is_gone_around(
    sshd: Sshd, echo: Echo, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ControlMaster takes requests and answers none, as one whose network is gone."""
    monkeypatch.setattr("trioet.bootstrap.ssh_way.ALONE_AFTER_S", 0.1)
    path = str(runtime_dir / "master")
    with socket.socket(socket.AF_UNIX) as master:
        master.bind(path)
        master.listen(5)
        async with way(sshd, echo.port, options=[f"ControlPath={path}"]) as through:
            line = await through.dial()
            await talk(line)
            line.close()
