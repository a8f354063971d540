"""Tunnels of whole sessions, through a real sshd, as a user has them."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ports import free_ports
from tunnelled import (
    EVERYWHERE_HERE,
    carries,
    configure,
    connect,
    connect_when_open,
    datagram_server,
    datagrams_carry,
    echo_at,
    echo_server,
    exchange,
    has_ipv6,
    mode,
    nobody_listens,
    session,
    socks4a,
    socks5,
)
from waiting import until

pytestmark = pytest.mark.e2e

MEGABYTE = 1 << 20
GRANTED4 = 90


# ssh's kinds


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_a_forward_carries_both_ways_and_half_closes(
    far_side: FarSide, free_port: int, option: str
) -> None:
    async with (
        echo_server() as port,
        session(far_side, option, f"{free_port}:localhost:{port}"),
    ):
        await carries(free_port, MEGABYTE)


@pytest.mark.parametrize("option", ["-D", "-R"])
async def test_socks_leads_wherever_the_application_says(
    far_side: FarSide, free_port: int, option: str
) -> None:
    data = os.urandom(MEGABYTE)
    async with echo_server() as port, session(far_side, option, str(free_port)):
        async with await connect_when_open(free_port) as stream:
            assert await socks5(stream, "localhost", port) == 0
            assert await exchange(stream, data) == data
        async with await connect_when_open(free_port) as stream:
            assert await socks4a(stream, "localhost", port) == GRANTED4
            assert await exchange(stream, data) == data


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_port_zero_is_a_free_one_and_the_user_is_told_which(
    far_side: FarSide, option: str
) -> None:
    async with echo_server() as port:
        wish = f"0:localhost:{port}"
        async with session(far_side, option, wish) as person:
            await person.until(f"trioet: {option} {wish}: listens on port ".encode())
            chosen = int(await person.until(b"\r\n"))
            await carries(chosen)


@pytest.mark.parametrize("option", ["-D", "-R"])
async def test_socks_takes_a_free_port_as_well(far_side: FarSide, option: str) -> None:
    async with echo_server() as port, session(far_side, option, "0") as person:
        await person.until(f"trioet: {option} 0: listens on port ".encode())
        async with await connect(int(await person.until(b"\r\n"))) as stream:
            assert await socks5(stream, "127.0.0.1", port) == 0
            assert await exchange(stream, b"hello") == b"hello"


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_unix_sockets_at_either_end(
    far_side: FarSide, runtime_dir: Path, free_port: int, option: str
) -> None:
    end, begin, other = (runtime_dir / name for name in ("end", "begin", "other"))
    async with echo_server() as port, echo_at(end):
        options = [option, f"{begin}:{end}", option, f"{free_port}:{end}"]
        options += [option, f"{other}:localhost:{port}"]
        async with session(far_side, *options) as person:
            for where in (begin, free_port, other):
                await carries(where)
            assert mode(begin) == 0o600
            await person.type(b"exit\n")
            await person.end()
    await until(lambda: not begin.exists() and not other.exists())


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_datagrams(far_side: FarSide, free_port: int, option: str) -> None:
    async with (
        datagram_server(lambda data: data) as port,
        session(far_side, option, f"{free_port}:127.0.0.1:{port}/udp"),
    ):
        await datagrams_carry(free_port)


# Where they listen


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_who_names_no_address_is_heard_on_localhost_alone(
    far_side: FarSide, free_port: int, option: str
) -> None:
    async with (
        echo_server() as port,
        session(far_side, option, f"{free_port}:localhost:{port}"),
    ):
        await carries(free_port)
        if has_ipv6():
            await carries(free_port, host="::1")
        assert nobody_listens(free_port, EVERYWHERE_HERE)


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_a_star_is_every_address(far_side: FarSide, free_port: int, option: str) -> None:
    async with (
        echo_server() as port,
        session(far_side, option, f"*:{free_port}:localhost:{port}"),
    ):
        await carries(free_port, host=EVERYWHERE_HERE)
        if has_ipv6():
            await carries(free_port, host="::1")


async def test_a_named_address_is_the_only_one(far_side: FarSide, free_port: int) -> None:
    async with echo_server() as port:
        forward = f"{EVERYWHERE_HERE}:{free_port}:localhost:{port}"
        async with session(far_side, "-L", forward):
            await carries(free_port, host=EVERYWHERE_HERE)
            assert nobody_listens(free_port)


@pytest.mark.parametrize("way", ["-g", "option", "configuration"])
async def test_gateway_ports_open_what_names_no_address(
    far_side: FarSide, free_port: int, way: str
) -> None:
    options = {"-g": ["-g"], "option": ["-o", "GatewayPorts=yes"], "configuration": []}[way]
    if way == "configuration":
        configure(far_side, ["GatewayPorts yes"])
    async with echo_server() as port:
        forward = f"{free_port}:localhost:{port}"
        async with session(far_side, *options, "-L", forward):
            await carries(free_port, host=EVERYWHERE_HERE)


# Eternal Terminal's kinds


@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_lists_of_ports_and_paths(far_side: FarSide, runtime_dir: Path, option: str) -> None:
    path, end = runtime_dir / "begin", runtime_dir / "end"
    async with echo_server() as port, echo_at(end):
        near = free_ports(4)
        wish = f"{near[0]}:{port},{near[1]}:{end},{path}:{port}"
        more = ["-t", f"{EVERYWHERE_HERE}:{near[2]}:localhost:{port}", "-r", f"{near[3]}:{port}"]
        async with session(far_side, option, wish, *more):
            for where in (near[0], near[1], near[3], path):
                await carries(where)
            await carries(near[2], host=EVERYWHERE_HERE)


@pytest.mark.parametrize("option", ["-t", "-r"])
async def test_every_port_of_a_range_leads_to_its_own(far_side: FarSide, option: str) -> None:
    six = free_ports(6)
    near, far = six[:3], six[3:]

    async def say_port(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"%d" % stream.socket.getsockname()[1])

    async with trio.open_nursery() as nursery:
        for port in far:
            await nursery.start(partial(trio.serve_tcp, say_port, port, host="127.0.0.1"))
        wish = f"{near[0]}-{near[-1]}:{far[0]}-{far[-1]}"
        async with session(far_side, option, wish):
            for begin, end in zip(near, far, strict=True):
                async with await connect_when_open(begin) as stream:
                    assert await stream.receive_some() == b"%d" % end
        nursery.cancel_scope.cancel()


async def test_a_variable_names_a_private_socket_of_the_session(
    far_side: FarSide, runtime_dir: Path
) -> None:
    end = runtime_dir / "end"
    async with echo_at(end), session(far_side, "-r", f"MY_SERVICE:{end}") as person:
        place = Path((await person.run(b"echo $MY_SERVICE")).decode().strip())
        assert place.is_relative_to(runtime_dir)
        assert mode(place.parent) == 0o700
        assert mode(place) == 0o600
        await carries(place)
        await person.type(b"exit\n")
        await person.end()
    await until(lambda: not place.parent.exists())


# The configuration of ssh


async def test_forwards_of_the_ssh_configuration(
    far_side: FarSide, free_port: int, runtime_dir: Path
) -> None:
    ports = free_ports(4)
    path, end = runtime_dir / "begin", runtime_dir / "end"
    async with echo_server() as port, echo_at(end):
        lines = [
            f"LocalForward {ports[0]} localhost:{port}",
            f"LocalForward {path} {end}",
            f"RemoteForward {ports[1]} localhost:{port}",
            f"RemoteForward {ports[3]}",
            f"DynamicForward {ports[2]}",
        ]
        configure(far_side, lines)
        async with session(far_side, "-L", f"{free_port}:localhost:{port}"):
            for where in (ports[0], ports[1], path, free_port):
                await carries(where)
            for proxy in (ports[2], ports[3]):
                async with await connect_when_open(proxy) as stream:
                    assert await socks5(stream, "localhost", port) == 0
                    assert await exchange(stream, b"hello") == b"hello"


async def test_clear_all_forwardings_clears_those_of_the_configuration(
    far_side: FarSide,
) -> None:
    near, other = free_ports(2)
    async with echo_server() as port:
        configure(far_side, [f"LocalForward {near} localhost:{port}"])
        options = ["-o", "ClearAllForwardings=yes", "-r", f"{other}:{port}"]
        async with session(far_side, *options) as person:
            await person.run(b"true")
            assert nobody_listens(near)


# Without a terminal


async def all_of(pipe: trio.abc.ReceiveStream | None) -> bytes:
    """What is written there until its end."""
    assert pipe is not None
    return b"".join([part async for part in pipe])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_tunnels_alone_without_a_terminal(
    far_side: FarSide, free_port: int, runtime_dir: Path, number: signal.Signals
) -> None:
    there = runtime_dir / "there"
    async with echo_server() as port:
        forwards = ["-L", f"{free_port}:localhost:{port}", "-R", f"{there}:localhost:{port}"]
        process = await trio.lowlevel.open_process(
            far_side.connect("-N", *forwards),
            env=far_side.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await carries(free_port)
        await carries(there)
        process.send_signal(number)
        with trio.fail_after(20):
            printed, said = await all_of(process.stdout), await all_of(process.stderr)
            assert await process.wait() == 255
    assert printed == b""
    assert b"trioet: connected to farside, without a terminal; Ctrl-C ends it" in said
    assert b"ended by " + number.name.encode() in said
    await until(lambda: not there.exists())
