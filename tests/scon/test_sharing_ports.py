"""Ports for clients: opened, kept from a predecessor, or refused with a reason."""

from __future__ import annotations

import socket

import pytest

from descriptors import descriptors
from ports import free_ports
from trioet.errors import LocalError
from trioet.scon.listeners import open_listeners, shares


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


def test_so_many_of_each_place_share_its_port_and_the_kernel_deals_out() -> None:
    made = open_listeners([("127.0.0.1", 0), ("::1", 0)], each=3)

    assert [listener.getsockname()[:2] for listener in made[:3]] == [made[0].getsockname()] * 3
    assert len({port_of(listener) for listener in made}) == 2
    callers = [socket.create_connection(made[0].getsockname()) for _ in range(64)]
    for listener in made[:3]:
        listener.setblocking(False)
        listener.accept()[0].close()  # each has some: not so once in 10**11
    for sock in (*callers, *made):
        sock.close()


def test_a_successor_with_more_workers_opens_more_and_with_fewer_keeps_all() -> None:
    two = open_listeners([("127.0.0.1", 0)], each=2)
    place = ("127.0.0.1", port_of(two[0]))

    three = open_listeners([place], two, each=3)
    again = open_listeners([place], three, each=1)

    assert three[:2] == two
    assert again == three
    for listener in again:
        listener.close()


def test_every_listener_is_served_and_every_worker_serves_every_place() -> None:
    made = open_listeners([("127.0.0.1", 0), ("::1", 0)], each=3)

    for workers in (1, 2, 3, 5):
        dealt = shares(made, workers)
        assert {one for share in dealt for one in share} == set(made)
        assert all(len({port_of(one) for one in share}) == 2 for share in dealt)
    for listener in made:
        listener.close()


def test_a_port_in_use_is_told_and_nothing_stays_open() -> None:
    before = descriptors()
    taken = socket.create_server(("127.0.0.1", 0))
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # another service of ours
    with taken, pytest.raises(LocalError, match=f"127.0.0.1 port {port_of(taken)}: .*in use"):
        open_listeners([("127.0.0.1", 0), ("127.0.0.1", port_of(taken))])
    assert descriptors() == before
