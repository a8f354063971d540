"""Dialling real sockets of loopback, by a name that has an address of each family."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from trioet.link.dial import dial


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
