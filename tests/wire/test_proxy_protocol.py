"""The PROXY protocol's two versions, against its specification's own words."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.wire.proxy_protocol import SIGNATURE, version_1, version_2

HERE = ("10.0.0.1", 1248)
PORTS = st.integers(0, 65535)
HOSTS = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("client", "local", "line"),
    [
        (("192.0.2.7", 37224), HERE, b"PROXY TCP4 192.0.2.7 10.0.0.1 37224 1248\r\n"),
        (("2001:db8::7", 1), ("::1", 2), b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n"),
        # A socket of both families.
        (("::ffff:192.0.2.7", 1), ("::ffff:10.0.0.1", 2), b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"),
        (("fe80::7%eth0", 1), ("fe80::1", 2), b"PROXY TCP6 fe80::7 fe80::1 1 2\r\n"),
        (("192.0.2.7", 1), ("::1", 2), b"PROXY TCP6 ::ffff:c000:207 ::1 1 2\r\n"),
        (None, HERE, b"PROXY UNKNOWN\r\n"),
        (("somewhere", 1), HERE, b"PROXY UNKNOWN\r\n"),
    ],
)
def test_version_1_is_a_line(
    client: tuple[str, int] | None, local: tuple[str, int], line: bytes
) -> None:
    said = version_1(client, local)

    if b"::ffff:" in line:  # Python writes the last of it in either way
        assert ip_address(said.split()[2].decode()) == ip_address("::ffff:192.0.2.7")
        assert said.split()[3:] == line.split()[3:]
    else:
        assert said == line


def test_version_2_of_ipv4_is_28_bytes() -> None:
    assert version_2(("192.0.2.7", 37224), HERE) == (
        SIGNATURE
        + b"\x21\x11\x00\x0c"
        + bytes([192, 0, 2, 7, 10, 0, 0, 1])
        + struct.pack(">HH", 37224, 1248)
    )


def test_version_2_of_ipv6_is_52_bytes() -> None:
    said = version_2(("2001:db8::7", 1), ("::1", 2))

    assert said[12:16] == b"\x21\x21\x00\x24"
    assert said[16:32] == socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    assert len(said) == 52


@pytest.mark.parametrize("client", [None, ("somewhere", 1)])
def test_version_2_of_what_is_not_told_says_to_take_the_connections_own(
    client: tuple[str, int] | None,
) -> None:
    assert version_2(client, HERE) == SIGNATURE + b"\x20\x00\x00\x00"


@given(HOSTS, PORTS, HOSTS, PORTS)
def test_both_versions_tell_the_same(host: str, port: int, here: str, here_port: int) -> None:
    line, header = (
        version_1((host, port), (here, here_port)),
        version_2((host, port), (here, here_port)),
    )

    _, family, told, told_here, told_port, told_here_port = line.split()
    size = 4 if family == b"TCP4" else 16
    read = IPv4Address if size == 4 else IPv6Address
    assert len(line) <= 107  # specification, 2.1
    assert header[16:][:size] == read(told.decode()).packed
    assert header[16 + size :][:size] == read(told_here.decode()).packed
    assert struct.unpack(">HH", header[16 + 2 * size :]) == (int(told_port), int(told_here_port))
