"""Ports for clients: opened, kept from a predecessor, or refused with a reason."""

from __future__ import annotations

import socket

import pytest

from descriptors import descriptors
from ports import free_ports
from trioet.errors import LocalError
from trioet.scon.listeners import open_listeners


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_one_place_or_several_are_opened() -> None:
    made = open_listeners([("127.0.0.1", 0), ("::1", 0), ("", 0)])

    assert [listener.getsockname()[0] for listener in made] == ["127.0.0.1", "::1", "::"]
    for listener in made:
        socket.create_connection(listener.getsockname()[:2]).close()
        listener.close()


def test_all_addresses_of_both_families_are_one_port() -> None:
    (listener,) = open_listeners([("", 0)])
    with listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port_of(listener))).close()


def test_what_a_predecessor_had_is_kept_if_it_is_asked_for_and_else_closed() -> None:
    before = descriptors()
    kept = socket.create_server(("127.0.0.1", 0))
    unwanted = socket.create_server(("127.0.0.1", 0))
    (other,) = free_ports(1)

    made = open_listeners([("127.0.0.1", other), ("127.0.0.1", port_of(kept))], [unwanted, kept])

    assert made[1] is kept
    assert unwanted.fileno() == -1
    for listener in made:
        listener.close()
    assert descriptors() == before


def test_all_addresses_are_not_one_of_them() -> None:
    one = socket.create_server(("127.0.0.1", 0))
    (port,) = free_ports(1)

    (listener,) = open_listeners([("", port)], [one])

    assert listener is not one
    assert one.fileno() == -1
    (same,) = open_listeners([("", port)], [listener])
    assert same is listener
    listener.close()


def test_a_port_in_use_is_told_and_nothing_stays_open() -> None:
    before = descriptors()
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(LocalError, match=f"127.0.0.1 port {port_of(taken)}: .*in use"):
        open_listeners([("127.0.0.1", 0), ("127.0.0.1", port_of(taken))])
    assert descriptors() == before
