"""Lines over real sockets."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
import trio

from trioet.link.line import KERNEL_ASKS_AFTER_S, LineBroken, SocketLine, source_of
from trioet.link.rhythm import LONGEST_S


@pytest.fixture
def ends() -> Iterator[tuple[SocketLine, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = socket.create_connection(listener.getsockname())
        here, _ = listener.accept()
    line = SocketLine(here)
    yield line, there
    line.close()
    there.close()


async def test_a_closed_line_is_broken_whatever_is_asked_of_it(
    ends: tuple[SocketLine, socket.socket],
) -> None:
    """It is closed by one task while another is about to wait for it."""
    line, _ = ends
    line.close()
    line.close()
    for wait in (line.wait_writable, line.receive):
        with pytest.raises(LineBroken, match="closed on this side"):
            await wait()
    with pytest.raises(LineBroken, match="closed on this side"):
        line.try_send(b"x")
    line.shutdown()


async def test_a_line_that_has_run_dry_and_is_closed_is_broken(
    ends: tuple[SocketLine, socket.socket],
) -> None:
    line, there = ends
    there.send(b"short")
    assert await line.receive() == b"short"
    line.close()
    with pytest.raises(LineBroken, match="closed on this side"):
        await line.receive()


@pytest.mark.parametrize("wait", ["wait_writable", "receive"])
async def test_closing_wakes_who_waits(ends: tuple[SocketLine, socket.socket], wait: str) -> None:
    line, _ = ends
    while line.try_send(bytes(1 << 20)):
        pass
    async with trio.open_nursery() as nursery:

        async def waiter() -> None:
            with pytest.raises(LineBroken, match="closed on this side"):
                await getattr(line, wait)()

        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        line.close()


@pytest.mark.parametrize(
    ("bound", "connected", "source"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::/64"),
    ],
)
def test_a_source_is_an_address_or_a_whole_network(bound: str, connected: str, source: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    both = bound == "::"
    with (
        socket.create_server((bound, 0), family=family, dualstack_ipv6=both) as listener,
        socket.create_connection((connected, listener.getsockname()[1])),
        listener.accept()[0] as accepted,
    ):
        assert source_of(accepted) == source
    assert source_of(accepted) == "unknown"


def test_a_local_source_is_local() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert source_of(here) == "local"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's options")
async def test_the_kernel_asks_when_it_is_told_to_and_not_at_all(
    ends: tuple[SocketLine, socket.socket],
) -> None:
    line, _ = ends
    sock = line._sock
    line.ask_after(7)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
    line.ask_after(0)
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    line.close()
    line.ask_after(7)  # of no use any more, and no harm


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's options")
async def test_the_kernel_asks_a_peer_that_is_silent_for_longer_than_any_that_lives(
    ends: tuple[SocketLine, socket.socket],
) -> None:
    line, _ = ends
    sock = line._sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KERNEL_ASKS_AFTER_S
    assert KERNEL_ASKS_AFTER_S > LONGEST_S
    every_ms = 1000 * sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= every_ms
    line.close()
