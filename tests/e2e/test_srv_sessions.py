"""`trioet connect --srv`: whole sessions, to where a real name server says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from farside import FarSide
from name_server import NameServer, name_server
from ports import free_ports
from ptys import at_terminal
from trioet.demo.cutter import Cutter
from trioet.doctor.stand_in import INVALID_KEY

pytestmark = pytest.mark.e2e

WITH_RESOLV_CONF = """
import sys
from dns.resolver import BaseResolver
def read_resolv_conf(self, _):
    self.nameservers, self.port = ["127.0.0.1"], {port}
BaseResolver.read_resolv_conf = read_resolv_conf
from trioet.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""trioet on a machine whose /etc/resolv.conf names a name server of ours, on any port."""


REFUSAL = "localhost says by its SRV record that no server is there"


class Client:
    """A machine that asks our name server, and knows the far side by a name."""

    def __init__(self, far_side: FarSide, names: NameServer) -> None:
        self.far_side = far_side
        self.names = names
        self.command = [sys.executable, "-c", WITH_RESOLV_CONF.format(port=names.port)]

    def connect(self, *arguments: str) -> list[str]:
        alias = f"HostKeyAlias=[127.0.0.1]:{self.far_side.sshd.port}"
        called = ("-o", "HostName=localhost", "-o", alias)
        words = self.far_side.connect(*called, "--srv", *arguments)
        return self.command + words[words.index("connect") :]

    async def doctor(self) -> list[dict[str, Any]]:
        """The steps that `trioet doctor --srv` finds."""
        words = self.connect("--json")
        words[words.index("connect")] = "doctor"
        done = await trio.run_process(
            words,
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            check=False,
            env=self.far_side.environment,
        )
        steps: list[dict[str, Any]] = json.loads(done.stdout)["steps"]
        return steps

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            self.connect(*arguments),
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=self.far_side.environment,
        )


@pytest.fixture
async def client(far_side: FarSide) -> AsyncIterator[Client]:
    async with name_server() as names:
        yield Client(far_side, names)


async def test_the_session_goes_where_the_records_say_and_fails_over(
    client: Client, free_tcp_port: int
) -> None:
    port = client.far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutters = [Cutter(port), Cutter(port)]
        near = [await nursery.start(cutter.serve) for cutter in cutters]
        client.names.records = (
            f"1 0 {free_tcp_port} localhost.",
            f"2 0 {near[0]} localhost.",
            f"3 0 {near[1]} localhost.",
        )
        command = client.connect("--via", "direct")
        async with at_terminal(command, client.far_side.environment) as person:
            assert await person.run(b"mine=7; echo hi") == b"hi\r\n"
            assert cutters[0].bytes_relayed > 0
            assert cutters[1].bytes_relayed == 0
            cutters[0].refuse = True
            cutters[0].cut()
            assert await person.run(b"echo $mine") == b"7\r\n"
            assert cutters[1].bytes_relayed > 0
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()
    assert set(client.names.asked) == {"_trioet._tcp.localhost."}


async def test_without_a_record_it_is_as_without_the_option(client: Client) -> None:
    port = client.far_side.start_router()
    done = await client.run("--via", "direct", "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert done.stderr.decode() == (
        f"trioet: localhost has no SRV record _trioet._tcp; localhost port {port} is tried "
        "instead\n"
    )


async def test_a_host_that_says_that_no_server_is_there_is_reached_by_ssh(client: Client) -> None:
    client.far_side.start_router()
    client.names.records = ("0 0 0 .",)
    done = await client.run("--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert done.stderr.decode() == f"trioet: {REFUSAL}: the session goes through ssh\n"
    done = await client.run("--via", "direct", "--", "echo hi")
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr.decode().startswith(f"trioet: {REFUSAL}\n        without --srv")


async def answer(stream: trio.SocketStream) -> None:
    """As a server to a stranger."""
    await stream.receive_some(4096)
    await stream.send_all(INVALID_KEY)


async def test_the_doctor_looks_at_the_servers_that_the_records_name(
    client: Client, free_tcp_port: int
) -> None:
    (listener,) = await trio.open_tcp_listeners(free_ports(1)[0], host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    client.names.records = (f"1 0 {port} localhost.", f"2 0 {free_tcp_port} localhost.")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        steps = await client.doctor()
        nursery.cancel_scope.cancel()
    (found,) = (step for step in steps if step["step"] == "srv")
    assert found["facts"]["servers"] == [f"localhost:{port}", f"localhost:{free_tcp_port}"]
    reached = {
        (step["facts"]["port"], step["outcome"])
        for step in steps
        if step["step"] == "port" and step["facts"]["family"] == "IPv4"
    }
    assert reached == {(port, "ok"), (free_tcp_port, "failed")}


async def test_the_doctor_says_that_there_are_no_records_and_looks_at_the_host(
    client: Client,
) -> None:
    steps = await client.doctor()
    outcomes = {step["step"]: step["outcome"] for step in steps}
    assert outcomes["srv"] == "warning"
    assert outcomes["port"] in ("ok", "warning")
    client.names.records = ("0 0 0 .",)
    outcomes = {step["step"]: step["outcome"] for step in await client.doctor()}
    assert outcomes["srv"] == "failed"
    assert "port" not in outcomes
