"""What the real Eternal Terminal 7.0 programs cannot do: asked of them by ours, it is said; and
what their users must not suffer from it, they do not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import Person, at_terminal
from real_et import NEEDS_ET, EtServer, et_to_trioet, see_prompt, trioet_to_et
from tunnelled import connect_when_open, echo_server, echoes

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]

STALLED: Final = 100_000_000
"""More than fits all buffers between two applications: 64 MiB of ours, and the kernel's. ET
takes all of it at once, in packets of 1 KiB, and its terminal waits behind them."""


# A stalled application


@asynccontextmanager
async def never_reads() -> AsyncIterator[int]:
    """A port at which an application takes connections, and not a byte."""

    async def stall(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, stall, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_who_does_not_read_freezes_no_terminal_of_a_real_client(far_side: FarSide) -> None:
    """Our server, to which et sends without asking whether there is room."""
    near = free_ports(1)[0]
    async with never_reads() as port:
        command = et_to_trioet(far_side, far_side.start_router(), "-t", f"{near}:{port}")
        async with at_terminal(command, far_side.environment) as person:
            await see_prompt(person)
            await type_on_beside_a_flood(
                person, near, lambda _: "its application reads nothing" in far_side.keeper_log()
            )


async def test_who_does_not_read_freezes_no_terminal_of_ours(
    far_side: FarSide, etserver: EtServer
) -> None:
    """Our client, to which etserver sends without asking whether there is room."""
    near = free_ports(1)[0]
    async with never_reads() as port:
        options = ["-p", str(etserver.port), "-r", f"{near}:{port}"]
        command = trioet_to_et(far_side, etserver, *options)
        async with at_terminal(command, far_side.environment) as person:
            await see_prompt(person)
            shown = await type_on_beside_a_flood(
                person, near, lambda shown: b"its application reads nothing" in shown
            )
    said = rb"trioet: -r [^\r\n]*: a connection was reset: its application reads nothing\r\n"
    assert re.search(said, shown)


async def type_on_beside_a_flood(
    person: Person, port: int, is_reset: Callable[[bytes], bool]
) -> bytes:
    """Send to a stalled application more than anybody keeps; return what showed meanwhile."""
    shown = b""

    async def flood(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # or ET has taken all of it
            await stream.send_all(bytes(STALLED))

    async with await connect_when_open(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(flood, stream)
        with trio.fail_after(60):
            for number in count():
                await person.type(b"echo go''es on %d\n" % number)
                shown += await person.until(b"goes on %d\r\n" % number)
                if is_reset(shown):
                    break
        nursery.cancel_scope.cancel()
    return shown


# What ET cannot do


WISHES: Sequence[tuple[str, str, str]] = [
    ("-L", "{}:elsewhere.example:80", "connects to nothing but its own localhost"),
    ("-L", "{}:127.0.0.1:53/udp", "carries no UDP"),
    ("-R", "{}:127.0.0.1:53/udp", "carries no UDP"),
    ("-D", "{}", "knows no SOCKS"),
    ("-R", "{}", "knows no SOCKS"),
    ("-R", "0:127.0.0.1:80", "does not choose a port"),
]


@pytest.mark.parametrize(("option", "wish", "why"), WISHES)
async def test_what_a_real_server_cannot_do_is_said_by_name(
    far_side: FarSide, etserver: EtServer, option: str, wish: str, why: str
) -> None:
    here, there = free_ports(2)
    wish = wish.format(here)
    async with echo_server() as port:
        options = ["-p", str(etserver.port), option, wish, "-t", f"{there}:{port}"]
        command = trioet_to_et(far_side, etserver, *options)
        async with at_terminal(command, far_side.environment) as person:
            text = f"trioet: {option} {wish}: a real Eternal Terminal server {why}"
            await person.until(text.encode())
            await echoes(there)


async def test_a_port_in_use_there_is_told_to_their_client(far_side: FarSide) -> None:
    async with echo_server() as taken:
        command = et_to_trioet(far_side, far_side.start_router(), "-r", f"{taken}:{taken}")
        async with at_terminal(command, far_side.environment) as person:
            await person.until(f"cannot listen on localhost:{taken}: address already".encode())
            assert await person.run(b"echo goes on") == b"goes on\r\n"
