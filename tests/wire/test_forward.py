"""What a forward is called, where people read it."""

from __future__ import annotations

import pytest

from trioet.wire.forward import Address, Endpoint, Forward, Side, UnixPath, Variable


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Address("localhost", 80), "localhost:80"),
        (Address("192.0.2.1", 0), "192.0.2.1:0"),
        (Address("::1", 443), "[::1]:443"),
        (UnixPath("/run/a.sock"), "/run/a.sock"),
        (Variable("SSH_AUTH_SOCK"), "$SSH_AUTH_SOCK"),
    ],
    ids=str,
)
def test_an_endpoint_is_called_as_users_write_it(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text


@pytest.mark.parametrize(
    ("forward", "text"),
    [
        (Forward(Side.LOCAL, Address("::1", 1), Address("b", 2)), "-L [::1]:1:b:2"),
        (Forward(Side.REMOTE, Address("a", 1), None), "-R a:1"),
        (Forward(Side.LOCAL, Address("a", 53), Address("b", 53), True), "-L a:53:b:53/udp"),
        (Forward(Side.REMOTE, Variable("A"), UnixPath("/a")), "-R $A:/a"),
        (Forward(Side.LOCAL, Address("a", 1), None, written="-D 1"), "-D 1"),
    ],
    ids=["address", "dynamic", "datagrams", "variable", "as written"],
)
def test_a_forward_is_called_as_its_user_wrote_it_or_would_have(
    forward: Forward, text: str
) -> None:
    assert str(forward) == text
