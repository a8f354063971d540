"""Dialling real sockets of loopback, by a name that has an address of each family."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from cluster import Cluster
from trioet.link.dial import HostDial, NoOtherAddress, dial


class TwoFamilies(trio.abc.HostnameResolver):
    """Resolve every name to both loopbacks, IPv6 first."""

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | None, port: int, *_: object, **__: object
    ) -> list[tuple[object, ...]]:
        stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [
            (socket.AF_INET6, *stream, ("::1", port, 0, 0)),
            (socket.AF_INET, *stream, ("127.0.0.1", port)),
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listens on both loopbacks."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        yield listener


@pytest.mark.parametrize(
    ("family", "peer"), [("any", "::1"), ("inet6", "::1"), ("inet", "::ffff:127.0.0.1")]
)
async def test_the_address_family_of_ssh_is_heeded(
    listener: socket.socket, family: str, peer: str
) -> None:
    trio.socket.set_custom_hostname_resolver(TwoFamilies())
    line = await dial("both.example", listener.getsockname()[1], family)
    connection, address = listener.accept()
    connection.close()
    line.close()
    assert address[0] == peer


async def test_a_family_that_the_host_lacks_is_an_error(listener: socket.socket) -> None:
    with pytest.raises(OSError, match="all attempts to connect"):
        await dial("127.0.0.1", listener.getsockname()[1], "inet6")


async def test_where_another_server_was_met_it_goes_to_the_others(
    listener: socket.socket,
) -> None:
    trio.socket.set_custom_hostname_resolver(Cluster("127.0.0.1", "127.0.0.2"))
    at = HostDial("cluster.example", listener.getsockname()[1])
    first = await at.dial()
    assert first.peer_address == "127.0.0.1"
    first.close()
    assert at.avoid(first)
    second = await at.dial()
    assert second.peer_address == "127.0.0.2"
    second.close()
    assert at.avoid(second)
    with pytest.raises(NoOtherAddress, match=r"cluster.example has no other address"):
        await at.dial()
    third = await at.dial()
    assert third.peer_address == "127.0.0.1", "all are tried again"
    third.close()


async def test_where_no_other_address_answers_it_is_an_error(free_tcp_port: int) -> None:
    trio.socket.set_custom_hostname_resolver(Cluster("127.0.0.1", "127.0.0.2"))
    at = HostDial("cluster.example", free_tcp_port)
    with socket.create_server(("127.0.0.1", free_tcp_port)):
        line = await at.dial()
    line.close()
    assert at.avoid(line)
    with pytest.raises(OSError, match="connect"):
        await at.dial()


async def test_an_address_has_no_others(listener: socket.socket) -> None:
    at = HostDial("127.0.0.1", listener.getsockname()[1])
    line = await at.dial()
    line.close()
    assert not at.avoid(line)
