"""Whether the way to the peer is another one, as the real kernel says; and its words by hand."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioet.client.routes import Routes, read_way, way_to
from trioet.link.line import SocketLine

GATEWAY, CACHE = 5, 12


def answer(*attributes: tuple[int, bytes], kind: int = 24) -> bytes:
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 254, 3, 0, 1, 0)
    for number, value in attributes:
        body += struct.pack("=HH", 4 + len(value), number) + value
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_another_gateway_is_another_way_and_another_lifetime_is_none() -> None:
    way = read_way(answer((GATEWAY, b"\n\0\0\1"), (CACHE, b"1234")))
    assert way == read_way(answer((CACHE, b"5678"), (GATEWAY, b"\n\0\0\1")))
    assert way != read_way(answer((GATEWAY, b"\n\0\0\2"), (CACHE, b"1234")))


def test_an_error_is_no_way() -> None:
    assert read_way(answer(kind=2)) is None
    assert read_way(b"") is None


@given(st.binary(max_size=80))
@example(answer() + b"\1")
def test_no_answer_is_an_error(datagram: bytes) -> None:
    hash(read_way(datagram))
    hash(read_way(answer() + datagram))


@pytest.mark.parametrize("address", ["", "somewhere", "fe80::1%eth0", "300.1.1.1"])
def test_what_is_no_address_has_no_way(address: str) -> None:
    assert way_to(address) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels are not asked")
async def test_the_way_of_the_newest_line_is_followed() -> None:
    ways = Routes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = SocketLine(socket.create_connection(listener.getsockname()))
        assert line.peer_address == "127.0.0.1"
        ways.follow([line])
        assert not ways.moved()
        line.close()
    assert line.peer_address == ""
    assert not ways.moved()
    ways.follow([])
    assert not ways.moved()


WALK = """
import subprocess
from trioet.client.routes import way_to

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def ways():
    return way_to("203.0.113.1"), way_to("2001:db8::1")

seen = [ways()]
for words in (
    "link set lo up",
    "link add name here type veth peer name there",
    "link set here up",
    "link set there up",
    "addr add 10.0.0.1/24 dev here",
    "addr add 10.0.0.2/24 dev here",
    "route add default via 10.0.0.9",
    "link add name box type veth peer name ship",
    "link set box up",
    "addr add 172.17.0.1/16 dev box",
    "route replace default via 10.0.0.8",
    "route replace default via 10.0.0.9",
    "route replace default via 10.0.0.9 src 10.0.0.2",
    "route add 203.0.113.0/24 dev box",
    "link set box down",
    "addr flush dev here",
):
    ip(words)
    now = ways()
    if now != seen[-1]:
        print(words)
    seen.append(now)
"""


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_only_what_changes_the_way_is_a_change_of_it() -> None:
    own = ["unshare", "--user", "--map-root-user", "--net"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*own, "true"], check=False, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("no network namespaces here")
    command = [*own, sys.executable, "-c", WALK]

    walked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert walked.stderr == ""
    assert walked.stdout.splitlines() == [
        "route add default via 10.0.0.9",
        "route replace default via 10.0.0.8",
        "route replace default via 10.0.0.9",
        "route replace default via 10.0.0.9 src 10.0.0.2",
        "route add 203.0.113.0/24 dev box",
        "link set box down",
        "addr flush dev here",
    ]
