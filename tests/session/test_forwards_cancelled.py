"""A session of channels that is cancelled at any step leaves nothing open."""

from __future__ import annotations

import os
import socket
import tempfile

import pytest
import trio

from cancelling import Sweep, Victim
from descriptors import descriptors
from ends import HERE, Ends, Sizes, two_ends
from lines import Cable
from trioet.session import channel, datagrams, forwards, tunnels
from trioet.wire.forward import Address, Endpoint, UnixPath

NOT_CANCELLED = {
    "channel.py:wait_writable": "only where an application reads nothing",
    "datagrams.py:wait_room": "only where the link is full: as channel.py's",
    "forwards.py:park": "only where there are too many channels, or a real ET's are stalled",
    "forwards.py:_ask": "asks, and does not wait, where there are not too many channels",
    "forwards.py:wait_not_full": "returns at once where there are not too many channels",
    "tunnels.py:wait_not_full": "returns at once where there are not too many channels",
    "tunnels.py:send_all": "a few bytes are sent at once",
    "tunnels.py:_last_words": "here the application is answered, and never in the wrong",
    "tunnels.py:wait_writable": "only where UDP's buffer is full",
}
PLACE = "/dev/shm" if os.path.isdir("/dev/shm") else None
SIZES = Sizes(cable=500, window=2000, acknowledge=500, chunk=800, credit=1000)

pytestmark = pytest.mark.proof


async def _all_kinds_of_channels(directory: str) -> None:
    """One of each kind, from its opening to its end."""
    there = UnixPath(os.path.join(directory, "there"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(there.path)
        listening.listen()
        async with two_ends(cable=Cable(500)) as ends:
            await _stream(ends, directory, there, listening)
            await _refused(ends, directory)
            await _by_socks(ends, directory)
            await _answered_by_socks(ends, directory)
            await _datagrams(ends)


async def _open(ends: Ends, directory: str, name: str, where: Endpoint | None) -> trio.SocketStream:
    here = UnixPath(os.path.join(directory, name))
    tunnel = await ends.client.tunnel(where, here, dynamic=where is None)
    near = await trio.open_unix_socket(here.path)
    del tunnel
    return near


async def _stream(ends: Ends, directory: str, there: Endpoint, listening: socket.socket) -> None:
    async with await _open(ends, directory, "near", there) as near:
        await near.send_all(bytes(3000))
        listening.setblocking(False)
        await trio.lowlevel.wait_readable(listening)
        sock, _ = listening.accept()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as far:
            await far.send_all(b"answer")
            await near.send_eof()
            while await far.receive_some(20_000):
                pass
            await near.receive_some(6)
            await far.send_eof()
            await near.receive_some(1)


async def _refused(ends: Ends, directory: str) -> None:
    nowhere = UnixPath(os.path.join(directory, "nowhere"))
    async with await _open(ends, directory, "refused", nowhere) as near:
        assert await near.receive_some(1) == b""


async def _by_socks(ends: Ends, directory: str) -> None:
    async with await _open(ends, directory, "socks", None) as near:
        await near.send_all(b"\x05\x01\x00")
        assert await near.receive_some(2) == b"\x05\x00"
        await near.send_all(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01")
        assert (await near.receive_some(100))[:2] == b"\x05\x05"
        await near.send_eof()
        assert await near.receive_some(1) == b""


async def _answered_by_socks(ends: Ends, directory: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1].to_bytes(2, "big")
        async with await _open(ends, directory, "answered", None) as near:
            await near.send_all(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port)
            listening.setblocking(False)
            await trio.lowlevel.wait_readable(listening)
            listening.accept()[0].close()
            while await near.receive_some(100):
                pass


async def _datagrams(ends: Ends) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.setblocking(False)
        tunnel = await ends.client.tunnel(Address(*far.getsockname()), HERE, datagrams=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            near.setblocking(False)
            near.sendto(b"question", ("127.0.0.1", tunnel.port))
            await trio.lowlevel.wait_readable(far)
            _, source = far.recvfrom(100)
            far.sendto(b"answer", source)
            await trio.lowlevel.wait_readable(near)
            assert near.recv(100) == b"answer"


def test_a_session_cancelled_at_any_step_leaves_no_socket_open() -> None:
    sweep = Sweep(channel, datagrams, forwards, tunnels)

    async def life(victim: Victim) -> None:
        with tempfile.TemporaryDirectory(prefix="te-", dir=PLACE) as directory:
            await victim.run(lambda: _all_kinds_of_channels(directory))
            victim.end()
            assert os.listdir(directory) in (["there"], [])

    before = descriptors()
    with SIZES.in_force():
        steps = sweep.every_step(life)
    assert steps > 50
    assert descriptors() == before
    assert sweep.never_cancelled(NOT_CANCELLED) == []
