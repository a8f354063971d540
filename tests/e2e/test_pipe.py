"""`trioet pipe`: stock ssh and its friends survive the loss of the network, with a real sshd."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from farside import FarSide
from fixtures_sshd import Sshd
from jumphosts import DESTINATION, journey
from piping import cut_pipe, inner, piped
from ptys import at_terminal
from trioet.demo.cutter import Cutter
from tunnelled import echo, echo_server
from waiting import until

pytestmark = pytest.mark.e2e

__all__ = ["inner"]

ALL_BYTES = bytes(range(256)) * 4000


def sessions(far_side: FarSide) -> tuple[int, int]:
    """How many sessions the keeper has opened, and how many are over."""
    log = far_side.keeper_log()
    return log.count(" opened\n"), log.count(" over\n")


async def nothing_stays(far_side: FarSide) -> None:
    """Wait until every session that was opened is over."""
    await until(lambda: sessions(far_side)[0] == sessions(far_side)[1] > 0)


# ssh


async def test_ssh_goes_through_a_pipe_to_the_host_itself(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)

    done = host.run([*host.ssh, "farside", "cat; exit 3"], ALL_BYTES)

    assert (done.returncode, done.stdout, done.stderr) == (3, ALL_BYTES, b"")
    await nothing_stays(far_side)


async def test_ssh_goes_through_a_pipe_to_a_host_behind_the_gateway(
    far_side: FarSide, inner: Sshd
) -> None:
    far_side.start_router()
    host = piped(far_side, "--via", "farside", host="inner", place="%h:%p")

    done = host.run([*host.ssh, "inner", "cat; exit 3"], ALL_BYTES)

    assert (done.returncode, done.stdout, done.stderr) == (3, ALL_BYTES, b"")
    assert (far_side.sshd.logins, inner.logins) == (1, 1)
    await nothing_stays(far_side)


def test_no_port_but_sshds_is_needed(far_side: FarSide) -> None:
    host = piped(far_side, "--way", "ssh")
    done = host.run([*host.ssh, "farside", "cat; exit 3"], ALL_BYTES)
    assert (done.returncode, done.stdout, done.stderr) == (3, ALL_BYTES, b"")


async def test_an_sshd_behind_a_nat_is_found_at_its_own_port(far_side: FarSide) -> None:
    """The port that ssh calls is the NAT's; the host itself knows another."""
    far_side.start_router()
    async with trio.open_nursery() as nursery:
        nat = await nursery.start(Cutter(far_side.sshd.port).serve)
        config = far_side.sshd.ssh_config_path
        config.write_text(config.read_text().replace(f"Port {far_side.sshd.port}", f"Port {nat}"))
        known = far_side.sshd.known_hosts_path
        known.write_text(known.read_text().replace(f"]:{far_side.sshd.port} ", f"]:{nat} "))
        host = piped(far_side, "-v")
        done = await trio.to_thread.run_sync(host.run, [*host.ssh, "farside", "echo hi"])
        assert (done.returncode, done.stdout) == (0, b"hi\n")
        told = f"trioet: farside connects to 127.0.0.1:{far_side.sshd.port}\n"
        assert done.stderr == told.encode()
        nursery.cancel_scope.cancel()


def test_the_user_whom_ssh_names_logs_in_at_both(far_side: FarSide) -> None:
    host = piped(far_side, place="%r@%n:%p")
    done = host.run([*host.ssh, "-v", "nobody-here@farside", "true"])
    assert done.returncode == 255
    log = (far_side.sshd.directory / "sshd.log").read_text()
    assert "nobody-here" in log
    assert far_side.sshd.logins == 0


def test_words_for_the_ssh_that_waits_are_not_followed_by_ours(
    far_side: FarSide, free_tcp_port: int
) -> None:
    """Two tunnels would be in each other's way, and ours would take the place of the shared one."""
    far_side.start_router()
    words = {
        "LocalForward": f"{free_tcp_port} localhost:1",
        "ExitOnForwardFailure": "yes",
        "ControlMaster": "auto",
        "ControlPath": str(far_side.runtime_dir / "shared"),
        "ControlPersist": "30",
    }
    host = piped(far_side, words=words)
    try:
        done = [host.run([*host.ssh, "farside", f"echo {word}"]) for word in ("one", "two")]
        opened, over = sessions(far_side)
    finally:
        ended = host.run([*host.ssh, "-O", "exit", "farside"])

    assert [(each.returncode, each.stdout) for each in done] == [(0, b"one\n"), (0, b"two\n")]
    assert ended.returncode == 0
    assert (opened, over) == (1, 0)  # the second went through the connection of the first
    assert far_side.sshd.logins == 2


async def test_ssh_is_killed_and_nothing_stays_behind(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)
    with host.start([*host.ssh, "farside", "echo hi; sleep 1000"]) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"hi\n"
        (pipe,) = children(ssh.pid)
        ssh.kill()
        await nothing_stays(far_side)
        await until(lambda: not alive(pipe))


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    """False for a process that has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Through a network that is cut


async def test_scp_survives_cuts(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(data := os.urandom(12_000_000))
    async with cut_pipe(far_side) as pipe:
        scp = ["scp", "-q", *pipe.host.ssh[1:]]
        up = [*scp, str(tmp_path / "sent"), f"farside:{tmp_path}/there"]
        await pipe.survives(up, cuts=15, every=500_000)
        down = [*scp, f"farside:{tmp_path}/there", str(tmp_path / "back")]
        await pipe.survives(down, cuts=15, every=500_000)

    assert digest(tmp_path / "there") == digest(tmp_path / "back") == hashlib.sha256(data).digest()


async def test_rsync_survives_fifty_cuts(far_side: FarSide, tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    for number in range(20):
        (tmp_path / "sent" / str(number)).write_bytes(os.urandom(1_000_000))
    async with cut_pipe(far_side) as pipe:
        rsync = ["rsync", "-a", "-e", " ".join(pipe.host.ssh), f"{tmp_path}/sent/"]
        await pipe.survives([*rsync, f"farside:{tmp_path}/there"], cuts=50, every=300_000)

    for number in range(20):
        assert digest(tmp_path / "there" / str(number)) == digest(tmp_path / "sent" / str(number))


async def test_git_clones_through_cuts(far_side: FarSide, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    make_repository(sent)
    async with cut_pipe(far_side) as pipe:
        clone = ["git", "clone", "-q", f"farside:{sent}", str(tmp_path / "back")]
        await pipe.survives(clone, cuts=15, every=400_000)

    assert digest(tmp_path / "back" / "blob") == digest(sent / "blob")


async def test_somebody_at_a_terminal_sees_nothing_of_a_cut_but_what_they_type(
    far_side: FarSide,
) -> None:
    async with (
        cut_pipe(far_side) as pipe,
        at_terminal([*pipe.host.ssh, "-tt", "farside"], pipe.host.environment) as person,
    ):
        assert await person.run(b"mine=7; stty size") == b"24 80\r\n"
        pipe.cutter.refuse = True
        pipe.cutter.cut()
        await person.type(b"stty -echo; echo $mine'<'\n")
        tried = pipe.cutter.attempts
        await until(lambda: pipe.cutter.attempts > tried + 2)
        pipe.cutter.refuse = False
        assert b"trioet" not in await person.until(b"7<\r\n")
        await person.type(b"exit 5\n")
        assert await person.end() == 5


async def test_ssh_asks_whether_the_server_is_alive_and_hears_nothing_of_the_cuts(
    far_side: FarSide,
) -> None:
    words = {"ServerAliveInterval": "1", "ServerAliveCountMax": "30"}  # a cut may take seconds
    async with cut_pipe(far_side, words) as pipe:
        script = "for i in 1 2 3; do sleep 1; echo $i; done"
        await pipe.survives([*pipe.host.ssh, "farside", script], cuts=10, every=100)


def make_repository(place: Path) -> None:
    """One of git's, with one file."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(place)]
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    (place / "blob").write_bytes(os.urandom(8_000_000))
    subprocess.run([*git, "add", "blob"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)


def digest(path: Path) -> bytes:
    """Of what is in the file."""
    return hashlib.sha256(path.read_bytes()).digest()


# The stream itself


async def test_both_ends_of_stream_come_through(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)
    async with echo_server() as port:
        command = [*host.pipe, "--via", "farside", f"localhost:{port}"]
        done = await trio.to_thread.run_sync(host.run, command, ALL_BYTES)
    assert (done.returncode, done.stdout, done.stderr) == (0, ALL_BYTES, b"")
    await nothing_stays(far_side)


async def test_who_does_not_read_makes_the_other_end_wait(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(bytes(65536))
                sent += 65536

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, flood, [listener])
        port = listener.socket.getsockname()[1]
        with host.start([*host.pipe, "--via", "farside", f"localhost:{port}"]) as pipe:
            assert pipe.stdout is not None
            await until(lambda: sent > 0)
            await unchanged(lambda: sent)
            assert sent < 32 * 1024 * 1024
            pipe.stdout.close()  # nobody will read the rest
            await until(lambda: pipe.poll() is not None)
        assert pipe.returncode == 0
        nursery.cancel_scope.cancel()
    await nothing_stays(far_side)


async def test_the_last_words_of_who_goes_without_waiting_arrive(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)
    heard = bytearray()

    async def hear(stream: trio.SocketStream) -> None:
        """Takes its time, and never ends by itself."""
        async for data in stream:
            heard.extend(data)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hear, [listener])
        port = listener.socket.getsockname()[1]
        with host.start([*host.pipe, "--via", "farside", f"localhost:{port}"]) as pipe:
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            pipe.stdin.write(ALL_BYTES[:60_000])  # fits, though nobody reads it yet
            pipe.stdin.close()
            pipe.stdout.close()
            await until(lambda: pipe.poll() is not None)
        assert pipe.returncode == 0
        assert heard == ALL_BYTES[:60_000]
        nursery.cancel_scope.cancel()
    await nothing_stays(far_side)


async def unchanged(value: Callable[[], int], seconds: float = 0.5) -> None:
    """Wait until it has not changed for so long."""
    last, since = value(), trio.current_time()
    while trio.current_time() - since < seconds:
        await trio.sleep(0.01)
        if value() != last:
            last, since = value(), trio.current_time()


async def test_a_connection_that_is_reset_is_no_success(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side)

    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, reset, [listener])
        port = listener.socket.getsockname()[1]
        command = [*host.pipe, "--via", "farside", f"localhost:{port}"]
        done = await trio.to_thread.run_sync(host.run, command, ALL_BYTES)
        nursery.cancel_scope.cancel()
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr == (
        f"trioet: the connection from farside to localhost:{port} was reset\n".encode()
    )


@asynccontextmanager
async def echo_until_reset() -> AsyncIterator[int]:
    """A port of this machine that says everything again, and may be left without a word."""

    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await echo(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_signals_end_it_and_nothing_stays_behind(
    far_side: FarSide, number: signal.Signals
) -> None:
    far_side.start_router()
    host = piped(far_side)
    async with echo_until_reset() as port:
        with host.start([*host.pipe, "--via", "farside", f"localhost:{port}"]) as pipe:
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            assert pipe.stderr is not None
            pipe.stdin.write(b"x")
            pipe.stdin.flush()
            assert await trio.to_thread.run_sync(pipe.stdout.read, 1) == b"x"
            pipe.send_signal(number)
            await until(lambda: pipe.poll() is not None)
            assert pipe.stderr.read() == b""
    await nothing_stays(far_side)


# What cannot be


def test_a_destination_that_refuses_is_told(far_side: FarSide, free_tcp_port: int) -> None:
    far_side.start_router()
    host = piped(far_side)
    done = host.run([*host.pipe, "--via", "farside", f"localhost:{free_tcp_port}"])
    assert (done.returncode, done.stdout) == (255, b"")
    words = f"trioet: farside cannot reach localhost:{free_tcp_port}: connection refused\n"
    assert done.stderr.startswith(words.encode())


def test_a_port_that_is_no_sshd_needs_a_gateway(far_side: FarSide, free_tcp_port: int) -> None:
    host = piped(far_side)
    done = host.run([*host.pipe, f"farside:{free_tcp_port}"])
    assert (done.returncode, done.stdout) == (255, b"")
    assert f"--via farside localhost:{free_tcp_port}".encode() in done.stderr
    looks = f"-o ProxyCommand=none -o Port={free_tcp_port} farside` looks for the cause"
    assert looks.encode() in done.stderr


def test_a_gateway_that_is_reached_through_itself_is_told_and_not_tried_for_ever(
    far_side: FarSide, inner: Sshd
) -> None:
    host = piped(far_side, "--via", "farside", host="*", place="%h:%p")
    done = host.run([*host.ssh, "inner", "true"])
    assert done.returncode == 255
    assert done.stderr.count(b"has the login to farside go through `trioet pipe`") == 1
    assert b"write `ProxyCommand none` for farside" in done.stderr
    assert far_side.sshd.logins == inner.logins == 0


def test_a_gateway_may_be_behind_another(far_side: FarSide, inner: Sshd) -> None:
    """The login to the gateway goes through a pipe of its own."""
    far_side.start_router()
    host = piped(far_side, place="%n:%p")
    config = host.ssh_config.read_text()
    further = shlex.join([*host.pipe, "--via", "farside"])
    host.ssh_config.write_text(f"Host inner\n  ProxyCommand {further} %h:%p\n{config}")

    done = host.run([*host.ssh, "inner", "echo hi"])

    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")
    assert (far_side.sshd.logins, inner.logins) == (2, 1)


# Beside connect's


async def test_jumphosts_pass_on_a_pipe(tmp_path: Path, runtime_dir: Path) -> None:
    with journey(tmp_path, runtime_dir, "a") as way:
        command = [sys.executable, "-m", "trioet.cli.main", "pipe", "-F", str(way.config)]
        command += ["--jump", "a", "--way", "direct", "--via", DESTINATION]
        async with echo_server() as port:
            done = await trio.run_process(
                [*command, f"localhost:{port}"],
                stdin=ALL_BYTES,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=way.environment,
            )
        assert (done.returncode, done.stdout, done.stderr) == (0, ALL_BYTES, b"")
        assert "relay to" in way.hosts["a"].keeper_log()


def test_without_an_ssh_program_ours_does(far_side: FarSide) -> None:
    far_side.start_router()
    host = piped(far_side, "--ssh-backend", "asyncssh")
    done = host.run([*host.ssh, "farside", "cat; exit 3"], ALL_BYTES)
    assert (done.returncode, done.stdout, done.stderr) == (3, ALL_BYTES, b"")
