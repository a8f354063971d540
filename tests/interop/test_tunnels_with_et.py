"""Tunnels with the real Eternal Terminal 7.0 programs, both ways.

ET has no half-close: who ends, ends both directions, and what is under way back is lost
(specification 5.4). So applications here end when they have everything, as ET's users must.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agents import Agent
from farside import FarSide
from ports import free_ports
from ptys import Person, at_terminal
from real_et import NEEDS_ET, EtServer, et_to_trioet, see_prompt, trioet_to_et
from trioet.demo.cutter import Cutter
from tunnelled import connect_when_open, echo_at, echo_server, echoes

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]

HALF_A_MEGABYTE = 500_000
FITS_A_SOCKET = 100_000
"""ET writes to where a tunnel leads all that it was given before it reads again. What is more than
the kernel holds for both directions of a Unix socket stands still for ever if it is sent back."""

OURS, THEIRS = "trioet to etserver", "et to trioet"
BOTH = pytest.mark.parametrize("way", [OURS, THEIRS])


@asynccontextmanager
async def session(
    far: FarSide, way: str, request: pytest.FixtureRequest, *options: str
) -> AsyncIterator[Person]:
    """Somebody at the prompt of a session between a real ET program and one of ours."""
    if way == OURS:
        server: EtServer = request.getfixturevalue("etserver")
        command = trioet_to_et(far, server, "-p", str(server.port), *options)
    else:
        command = et_to_trioet(far, far.start_router(), *options)
    async with at_terminal(command, far.environment) as person:
        await see_prompt(person)
        yield person


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_pairs_ranges_and_lists(
    far_side: FarSide, request: pytest.FixtureRequest, way: str, option: str
) -> None:
    async with echo_server() as port, echo_server() as other:
        near = free_ports(2)
        wish = f"{near[0]}:{port},{near[1]}:{other}"
        async with session(far_side, way, request, option, wish):
            for begin in near:
                await echoes(begin)


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_every_port_of_a_range_leads_to_its_own(
    far_side: FarSide, request: pytest.FixtureRequest, way: str, option: str
) -> None:
    six = free_ports(6)
    near, far = six[:3], six[3:]

    async def say_port(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"%d" % stream.socket.getsockname()[1])

    async with trio.open_nursery() as nursery:
        for port in far:
            listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, say_port, listeners)
        wish = f"{near[0]}-{near[-1]}:{far[0]}-{far[-1]}"
        async with session(far_side, way, request, option, wish):
            for begin, end in zip(near, far, strict=True):
                async with await connect_when_open(begin) as stream:
                    assert await stream.receive_some() == b"%d" % end
        nursery.cancel_scope.cancel()


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_unix_sockets_at_either_end(
    far_side: FarSide,
    request: pytest.FixtureRequest,
    runtime_dir: Path,
    free_port: int,
    way: str,
    option: str,
) -> None:
    begin, other, end = (runtime_dir / name for name in ("begin", "other", "end"))
    async with echo_server() as port, echo_at(end):
        wish = f"{begin}:{end},{free_port}:{end},{other}:{port}"
        async with session(far_side, way, request, option, wish):
            for where in (begin, free_port, other):
                await echoes(where, FITS_A_SOCKET)


@BOTH
async def test_sockets_of_the_environment(
    far_side: FarSide, request: pytest.FixtureRequest, runtime_dir: Path, way: str
) -> None:
    end = runtime_dir / "end"
    async with echo_at(end), session(far_side, way, request, "-r", f"SERVICE:{end}") as person:
        place = Path((await person.run(b"echo $SERVICE")).decode().strip())
        await echoes(place)


@BOTH
async def test_the_agent(
    far_side: FarSide, request: pytest.FixtureRequest, agent: Agent, way: str
) -> None:
    async with session(far_side, way, request, "-f", "--ssh-socket", str(agent.socket)) as person:
        for _ in range(3):
            assert agent.fingerprint in await person.run(b"ssh-add -l")


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_many_connections_one_after_the_other_and_together(
    far_side: FarSide,
    request: pytest.FixtureRequest,
    free_port: int,
    way: str,
    option: str,
) -> None:
    async with (
        echo_server() as port,
        session(far_side, way, request, option, f"{free_port}:{port}"),
    ):
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(echoes, free_port, 1 + 9_000 * number)


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_a_destination_that_refuses_ends_the_connection(
    far_side: FarSide, request: pytest.FixtureRequest, way: str, option: str
) -> None:
    port, nobody = free_ports(2)
    async with session(far_side, way, request, option, f"{port}:{nobody}") as person:
        async with await connect_when_open(port) as stream:
            with trio.fail_after(20):
                assert await _all_of(stream) == b""
        assert await person.run(b"echo goes on") == b"goes on\r\n"


async def _all_of(stream: trio.SocketStream) -> bytes:
    came = b""
    try:
        async for data in stream:
            came += data
    except trio.BrokenResourceError:
        pass
    return came


@BOTH
@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_what_was_said_before_the_end_arrives(
    far_side: FarSide,
    request: pytest.FixtureRequest,
    free_port: int,
    way: str,
    option: str,
) -> None:
    said = os.urandom(HALF_A_MEGABYTE)

    async def say(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say, listeners)
        port = listeners[0].socket.getsockname()[1]
        forward = f"{free_port}:{port}"
        async with (
            session(far_side, way, request, option, forward),
            await connect_when_open(free_port) as stream,
        ):
            with trio.fail_after(30):
                came = await _all_of(stream)
        nursery.cancel_scope.cancel()
    assert hashlib.sha256(came).digest() == hashlib.sha256(said).digest()


async def test_tunnels_of_our_client_survive_cuts(
    far_side: FarSide, etserver: EtServer, free_port: int
) -> None:
    async with trio.open_nursery() as nursery, echo_server() as port:
        cutter = Cutter(etserver.port)
        near = await nursery.start(cutter.serve)
        forward = f"{free_port}:{port}"
        command = trioet_to_et(far_side, etserver, "-p", str(near), "-t", forward)
        async with at_terminal(command, far_side.environment):
            await cut_while_echoing(cutter, free_port)
        nursery.cancel_scope.cancel()


async def test_tunnels_of_their_client_survive_cuts(far_side: FarSide, free_port: int) -> None:
    async with trio.open_nursery() as nursery, echo_server() as port:
        cutter = Cutter(far_side.start_router())
        near = await nursery.start(cutter.serve)
        command = et_to_trioet(far_side, near, "-t", f"{free_port}:{port}")
        async with at_terminal(command, far_side.environment):
            await cut_while_echoing(cutter, free_port)
        nursery.cancel_scope.cancel()


async def cut_while_echoing(cutter: Cutter, port: int) -> None:
    """Cut five times in the middle of half a megabyte each way."""
    for cuts in range(5):
        async with trio.open_nursery() as echoing:
            echoing.start_soon(echoes, port)
            await cutter.wait_relayed(HALF_A_MEGABYTE // 2)
            cutter.cut()
        assert cutter.cuts == cuts + 1
