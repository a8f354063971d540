"""`trioet proxy`: a standing service, by a gateway with a real sshd, and between two of them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import h11
import pytest
import trio

from farside import FarSide
from keepers import end_keepers, keepers_in
from ports import free_ports
from trioet.demo.cutter import Cutter
from tunnelled import carries, connect, connect_when_open, echo, echo_at, exchange, mode
from waiting import until

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


class Proxy:
    """A running `trioet proxy`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


COMMAND = [sys.executable, "-m", "trioet.cli.main", "proxy"]


@contextmanager
def proxy(far_side: FarSide, *arguments: str, **environment: str) -> Iterator[Proxy]:
    """A proxy with these arguments, ended with the block."""
    path = far_side.runtime_dir / f"proxy-{free_ports(1)[0]}.log"
    with open(path, "wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *arguments], env={**far_side.environment, **environment}, stderr=log
        )
    try:
        yield Proxy(process, path)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def refused(far_side: FarSide, *arguments: str) -> tuple[int, str]:
    """The exit status of a proxy that does not start, and what it says."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=far_side.environment,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stderr.decode()


async def asked(port: int, path: str) -> tuple[int, str]:
    """What a health endpoint answers: a status, and a text."""
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", "localhost")])
    async with await connect_when_open(port) as stream:
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        status, text = 0, b""
        while True:
            event = http.next_event()
            match event:
                case h11.Response(status_code=status):
                    pass
                case h11.Data(data=data):
                    text += data
                case h11.EndOfMessage():
                    return status, text.decode()
                case _:
                    http.receive_data(await stream.receive_some())


async def healthy(port: int, status: int = 200) -> str:
    """Wait until the endpoint says so; return its words."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found, text = await asked(port, "/healthz")
            if found == status:
                return text
            await trio.sleep(0.05)


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


async def survives(cutter: Cutter, port: int, *, cuts: int) -> None:
    """Send through an echo behind ``port`` until the network between was cut so often."""
    sent, came = hashlib.sha256(), hashlib.sha256()

    async def say(stream: trio.SocketStream) -> None:
        while cutter.cuts < cuts:
            data = os.urandom(16 * 1024)
            sent.update(data)
            await stream.send_all(data)
        await stream.send_eof()

    async def cut() -> None:
        while cutter.cuts < cuts:
            await cutter.wait_relayed(200_000)
            cutter.cut()

    with trio.fail_after(PATIENCE_S):
        async with await connect_when_open(port) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(say, stream)
            nursery.start_soon(cut)
            async for data in stream:
                came.update(data)
    assert came.digest() == sent.digest()


# By a gateway


def by_gateway(far_side: FarSide, here: int, to: int, *more: str) -> list[str]:
    """The arguments of a proxy that goes through the far side."""
    config = str(far_side.sshd.ssh_config_path)
    ends = ["--listen", str(here), "--via", "farside", "--to", f"localhost:{to}"]
    return ["-F", config, *ends, *more]


async def test_a_gateway_connects_to_where_a_port_here_leads(far_side: FarSide) -> None:
    far_side.start_router()
    here, health = free_ports(2)
    async with echo_until_reset() as end:
        arguments = by_gateway(far_side, here, end, "--health", f"127.0.0.1:{health}")
        with proxy(far_side, *arguments) as made:
            await carries(here, 500_000)
            await carries(here, 1000)
            assert await asked(health, "/healthz") == (200, "ok\n")
            status, figures = await asked(health, "/metrics")
            assert status == 200
            assert "\ntrioet_proxy_connections_total 2\n" in figures
            assert '\ntrioet_proxy_bytes_total{direction="to"} 501000\n' in figures
            assert '\ntrioet_proxy_bytes_total{direction="from"} 501000\n' in figures
            assert made.end() == 0
    await until(lambda: " over\n" in far_side.keeper_log())


async def test_a_connection_survives_cuts_on_the_way_to_the_gateway(far_side: FarSide) -> None:
    port = far_side.start_router()
    (here,) = free_ports(1)
    async with trio.open_nursery() as nursery, echo_until_reset() as end:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        with proxy(
            far_side, *by_gateway(far_side, here, end, "-p", str(near), "--way", "direct")
        ) as made:
            await survives(cutter, here, cuts=20)
            assert made.log.count("session with farside") == 1
            assert made.end() == 0
        nursery.cancel_scope.cancel()


async def test_a_far_machine_that_was_restarted_gets_a_new_session(far_side: FarSide) -> None:
    """It has forgotten the old one; the connection through that ends, the port here stays."""
    here, health = free_ports(2)
    async with echo_until_reset() as end:
        arguments = by_gateway(far_side, here, end, "--health", f"127.0.0.1:{health}")
        with proxy(far_side, *arguments) as made:
            await carries(here, 1000)
            async with await connect(here) as lost:
                await lost.send_all(b"x")
                assert await lost.receive_some() == b"x"
                kill_keepers(far_side)
                assert "no connection to farside" in await healthy(health, 503)
                async with await connect(here) as waits:
                    with trio.fail_after(PATIENCE_S):
                        assert await exchange(waits, b"hello") == b"hello"
                with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
                    await lost.receive_some()
            assert await asked(health, "/healthz") == (200, "ok\n")
            assert made.log.count("INFO session with farside") == 2
            assert made.end() == 0


def kill_keepers(far_side: FarSide) -> None:
    """As a power failure does: they tell nobody."""
    for pid in keepers_in(far_side.runtime_dir):
        os.kill(pid, signal.SIGKILL)
    end_keepers(far_side.runtime_dir)


async def test_a_gateway_that_does_not_answer_yet_is_waited_for(
    far_side: FarSide, free_tcp_port: int
) -> None:
    (health,) = free_ports(1)
    config = far_side.sshd.ssh_config_path
    good = config.read_text()
    config.write_text(good.replace(f"Port {far_side.sshd.port}", f"Port {free_tcp_port}"))
    async with echo_until_reset() as end:
        (here,) = free_ports(1)
        arguments = by_gateway(far_side, here, end, "--health", f"127.0.0.1:{health}")
        with proxy(far_side, *arguments) as made:
            await until(lambda: "ssh could not reach a shell on farside" in made.log, PATIENCE_S)
            assert "no session with farside" in await healthy(health, 503)
            config.write_text(good)
            await carries(here, 1000)
            assert made.end() == 0


async def test_a_destination_that_refuses_costs_one_connection(
    far_side: FarSide, free_tcp_port: int
) -> None:
    far_side.start_router()
    (here,) = free_ports(1)
    with proxy(far_side, *by_gateway(far_side, here, free_tcp_port)) as made:
        for _ in range(2):
            async with await connect_when_open(here) as stream:
                with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
        told = f"localhost:{free_tcp_port}: connection refused"
        await until(lambda: made.log.count(told) == 2)
        assert made.process.poll() is None


# Between two proxies


@pytest.fixture
def key(far_side: FarSide) -> str:
    """A key that both proxies have."""
    path = str(far_side.runtime_dir / "proxy.key")
    subprocess.run([*COMMAND, "--new-key", path], env=far_side.environment, check=True)
    return path


async def test_a_connection_between_two_proxies_survives_cuts(far_side: FarSide, key: str) -> None:
    there, here = free_ports(2)
    async with trio.open_nursery() as nursery, echo_until_reset() as end:
        cutter = Cutter(there)
        near = await nursery.start(cutter.serve)
        server = ["--listen", f"eternal:127.0.0.1:{there}", "--to", f"localhost:{end}"]
        client = ["--listen", str(here), "--to", f"eternal:127.0.0.1:{near}"]
        with (
            proxy(far_side, *server, "--key-file", key) as far,
            proxy(far_side, *client, "--key-file", key) as made,
        ):
            await until(lambda: "leads to" in far.log and "leads to" in made.log, PATIENCE_S)
            await survives(cutter, here, cuts=20)
            assert (made.end(), far.end()) == (0, 0)
            assert "Traceback" not in made.log + far.log
        nursery.cancel_scope.cancel()


async def test_many_connect_at_once_and_stay(far_side: FarSide, key: str) -> None:
    there, here = free_ports(2)
    many = 250
    async with echo_until_reset() as end:
        server = ["--listen", f"eternal:127.0.0.1:{there}", "--to", f"localhost:{end}"]
        client = ["--listen", str(here), "--to", f"eternal:127.0.0.1:{there}"]
        with (
            proxy(far_side, *server, "--key-file", key) as far,
            proxy(far_side, *client, "--key-file", key) as made,
        ):
            await until(lambda: "leads to" in far.log and "leads to" in made.log, PATIENCE_S)
            answered = 0
            all_answered = trio.Event()

            async def talk() -> None:
                nonlocal answered
                async with await connect(here) as stream:
                    await stream.send_all(b"x")
                    assert await stream.receive_some() == b"x"
                    answered += 1
                    if answered == many:
                        all_answered.set()
                    await all_answered.wait()  # so that all are there at the same time
                    assert await exchange(stream, b"y") == b"y"

            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    for _ in range(many):
                        nursery.start_soon(talk)
            assert "WARNING" not in made.log


async def test_both_ends_may_be_unix_sockets(far_side: FarSide, key: str) -> None:
    (between,) = free_ports(1)
    here, there = far_side.runtime_dir / "here", far_side.runtime_dir / "there"
    server = ["--listen", f"eternal:127.0.0.1:{between}", "--to", str(there), "--key-file", key]
    client = ["--listen", str(here), "--to", f"eternal:localhost:{between}", "--key-file", key]
    async with echo_at(there):
        with proxy(far_side, *server) as far, proxy(far_side, *client) as made:
            await until(lambda: "leads to" in far.log and "leads to" in made.log, PATIENCE_S)
            assert mode(here) == 0o600
            await carries(here)
            assert (made.end(), far.end()) == (0, 0)
    assert not here.exists()


async def test_who_has_another_key_is_told_so(far_side: FarSide, key: str) -> None:
    there, here = free_ports(2)
    other = str(far_side.runtime_dir / "other.key")
    subprocess.run([*COMMAND, "--new-key", other], env=far_side.environment, check=True)  # noqa: ASYNC221
    server = ["--listen", f"eternal:127.0.0.1:{there}", "--to", "localhost:1", "--key-file", key]
    client = ["--listen", str(here), "--to", f"eternal:127.0.0.1:{there}", "--key-file", other]
    with proxy(far_side, *server) as far, proxy(far_side, *client) as made:
        await until(lambda: "leads to" in far.log, PATIENCE_S)
        async with await connect_when_open(here) as stream:
            with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        await until(lambda: "key" in made.log.partition("leads to")[2], PATIENCE_S)
        assert made.process.poll() is None


def test_a_key_that_others_may_read_is_refused(far_side: FarSide, key: str) -> None:
    os.chmod(key, 0o644)
    status, said = refused(
        far_side, "--listen", "1", "--to", "eternal:localhost:1", "--key-file", key
    )
    assert (status, said) == (
        2,
        f"trioet: {key}: others may read this key; `chmod 600 {key}`, and make a new one\n",
    )


# The service


def test_a_port_that_is_taken_is_told(far_side: FarSide) -> None:
    status, said = refused(far_side, *by_gateway(far_side, far_side.sshd.port, 1))
    assert status == 255
    assert said.startswith(f"trioet: cannot listen on localhost:{far_side.sshd.port}: ")
    assert "Traceback" not in said


async def test_systemd_is_told_when_it_listens_and_when_it_ends(
    far_side: FarSide, key: str
) -> None:
    path = far_side.runtime_dir / "notify"
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as systemd:
        await systemd.bind(str(path))
        (here,) = free_ports(1)
        client = ["--listen", str(here), "--to", "eternal:localhost:1", "--key-file", key]
        with proxy(far_side, *client, NOTIFY_SOCKET=str(path)) as made, trio.fail_after(PATIENCE_S):
            assert await systemd.recv(64) == b"READY=1"
            (await connect(here)).socket.close()
            made.process.send_signal(signal.SIGTERM)
            assert await systemd.recv(64) == b"STOPPING=1"
            assert await trio.to_thread.run_sync(made.process.wait) == 0
