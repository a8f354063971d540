"""Real goscon both ways: its client and the Lua client against our server, ours against its.

Wanted on PATH: ``goscon``; ``goscon-client``, which is its examples/client; ``sconn-lua``, a Lua
that finds lvzixun/sconn_client and its C parts. What they say is recorded as well, in
tests/transcripts/goscon, and replayed by tests/wire and tests/scon without them.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ports import free_ports
from scon_ends import Cutter, Handler, echo, serving
from trioet.errors import StepFailed
from trioet.scon.opening import open_scon_stream
from trioet.scon.policy import Secure
from waiting import until

pytestmark = pytest.mark.interop

GOSCON, CLIENT, LUA = map(shutil.which, ("goscon", "goscon-client", "sconn-lua"))
NEEDS_SERVER = pytest.mark.skipif(not GOSCON, reason="needs goscon on PATH")
NEEDS_CLIENT = pytest.mark.skipif(not CLIENT, reason="needs goscon-client on PATH")
NEEDS_LUA = pytest.mark.skipif(not LUA, reason="needs sconn-lua on PATH")
LONG = 60.0

DRIVER = Path(__file__).with_name("sconn.lua")


class Goscon:
    """A real server, which leads to a port of loopback that the test may serve."""

    def __init__(self, directory: Path) -> None:
        assert GOSCON is not None
        self.port, self.backend = free_ports(2)
        config = directory / "config.yaml"
        config.write_text(
            f"""\
manager: ""
tcp: 127.0.0.1:{self.port}
kcp: ""
scp: {{handshake_timeout: 5, reuse_time: 5, reuse_buffer: 65536}}
upstream_option: {{net: tcp}}
hosts:
  - {{name: test1, addr: "127.0.0.1:{self.backend}", weight: 100}}
"""
        )
        self.process = subprocess.Popen(
            [GOSCON, "-config", str(config), "-log_dir", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._listens():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", self.port))


@pytest.fixture
def goscon(tmp_path: Path) -> Iterator[Goscon]:
    made = Goscon(tmp_path)
    yield made
    made.process.send_signal(signal.SIGKILL)
    made.process.wait()


async def listen_at(nursery: trio.Nursery, port: int, handler: Handler) -> None:
    """The same as scon_ends.listen, at a port that was chosen before."""
    (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handler, [listener])


# Their clients, our server


@NEEDS_CLIENT
async def test_goscons_client_begins_and_resumes_sessions_here(tmp_path: Path) -> None:
    assert CLIENT is not None
    with trio.fail_after(LONG):
        async with serving() as ends:
            load = [CLIENT, "-connect", f"127.0.0.1:{ends.port}", "-concurrent", "10"]
            load += ["-packets", "60", "-pps", "500", "-reuse", "5", "-targetServer", "test1"]
            done = await trio.run_process(load, cwd=tmp_path, capture_stderr=True)
            assert b"error" not in done.stderr.lower(), done.stderr
            counters = ends.server.counters
            assert (counters.sessions_begun, counters.resumes) == (10, 50)
            assert counters.handshake_errors == {}
            assert counters.bytes_up == counters.bytes_down > 10 * 60 * 50


@NEEDS_LUA
async def test_the_lua_client_reads_what_it_said_across_reconnects() -> None:
    assert LUA is not None
    with trio.fail_after(LONG):
        async with serving() as ends:
            command = [LUA, str(DRIVER), "127.0.0.1", str(ends.port), "100"]
            done = await trio.run_process(command, capture_stdout=True)
            assert done.stdout.splitlines()[-1] == b"equal\t14"
            assert ends.server.counters.resumes == 14


# Our client, their server


@NEEDS_SERVER
@pytest.mark.parametrize("secure", [Secure.OFF, Secure.OFFERED])
async def test_our_stream_resumes_at_a_real_server_across_cuts(
    goscon: Goscon, secure: Secure
) -> None:
    """It ignores what is offered. Small pieces: of more in flight it would have lost some."""
    dice = random.Random(1)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await listen_at(nursery, goscon.backend, echo)
            cutter = Cutter(goscon.port)
            await nursery.start(cutter.run)
            async with open_scon_stream("127.0.0.1", cutter.port, "test1", secure=secure) as stream:
                for number in range(60):
                    data = dice.randbytes(dice.randrange(1, 2000))
                    await stream.send_all(data)
                    if number % 3 == 0:
                        cutter.cut()
                    got = b""
                    while len(got) < len(data):
                        part = await stream.receive_some()
                        assert part
                        got += part
                    assert got == data
                assert stream.link.resumes >= 10
                assert not stream.link.sealed
            nursery.cancel_scope.cancel()


@NEEDS_SERVER
async def test_an_upload_to_a_real_server_survives_cuts(goscon: Goscon) -> None:
    """With a cache of 64 KiB, as its own clients have, it would be lost (6.1)."""
    data = random.Random(2).randbytes(20_000_000)
    digest = hashlib.sha256()
    size = 0

    async def take(stream: trio.SocketStream) -> None:
        nonlocal size
        async for part in stream:
            digest.update(part)
            size += len(part)

    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await listen_at(nursery, goscon.backend, take)
            cutter = Cutter(goscon.port)
            await nursery.start(cutter.run)
            cutter.cut_after = lambda: (2_000_000, -1) if cutter.connections < 9 else None
            async with open_scon_stream("127.0.0.1", cutter.port, "test1") as stream:
                await stream.send_all(data)
                await until(lambda: size == len(data), LONG)
                assert stream.link.resumes >= 8
            assert digest.digest() == hashlib.sha256(data).digest()
            nursery.cancel_scope.cancel()


@NEEDS_SERVER
async def test_the_end_of_a_backend_behind_a_real_server_is_the_end_of_our_stream(
    goscon: Goscon,
) -> None:
    async def goodbye(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"goodbye")

    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await listen_at(nursery, goscon.backend, goodbye)
            async with open_scon_stream("127.0.0.1", goscon.port, "test1") as stream:
                got = b""
                while part := await stream.receive_some():
                    got += part
                assert got == b"goodbye"
            nursery.cancel_scope.cancel()


@NEEDS_SERVER
async def test_a_real_server_cannot_seal_and_that_is_said(goscon: Goscon) -> None:
    with trio.fail_after(LONG), pytest.raises(StepFailed, match="offers no sealed sessions"):
        async with open_scon_stream("127.0.0.1", goscon.port, secure=Secure.REQUIRED):
            pass


@NEEDS_CLIENT
async def test_the_real_client_goes_on_across_cuts_over_kcp(tmp_path: Path) -> None:
    assert CLIENT is not None
    pytest.importorskip("siokcp", reason="needs siokcp: pip install 'trioet[kcp]'")
    from kcp_ends import serving_kcp

    with trio.fail_after(LONG):
        async with serving_kcp() as (ends, _, port):
            load = [CLIENT, "-connect", f"127.0.0.1:{port}", "-concurrent", "5"]
            load += [
                "-packets",
                "60",
                "-pps",
                "500",
                "-reuse",
                "3",
                "-targetServer",
                "test1",
                "kcp",
            ]
            done = await trio.run_process(load, cwd=tmp_path, capture_stderr=True)
            assert b"error" not in done.stderr.lower(), done.stderr
            counters = ends.server.counters
            assert (counters.sessions_begun, counters.resumes) == (5, 15)
            assert counters.bytes_up == counters.bytes_down > 5 * 60 * 50
