from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from ports import free_ports
from trioet.doctor import stand_in
from trioet.doctor.probe import Reached, probe, request
from trioet.wire.handshake import connect_response_frame
from trioet.wire.messages import ConnectResponse, ConnectStatus


class StandIn:
    """One that runs in a thread, until its owner's end."""

    def __init__(self, port: int) -> None:
        self.port = port
        owner, self._ours = os.pipe()
        listener = stand_in.listen([port])
        assert listener is not None

        def serve() -> None:
            stand_in.serve(listener, owner)
            os.close(owner)

        self._thread = threading.Thread(target=serve)
        self._thread.start()

    def end(self) -> None:
        os.close(self._ours)
        self._thread.join()


@pytest.fixture
def running() -> Iterator[StandIn]:
    made = StandIn(free_ports(1)[0])
    yield made
    made.end()


def test_it_says_what_a_keeper_says_to_strangers() -> None:
    answer = connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY))
    assert answer == stand_in.INVALID_KEY


@pytest.mark.parametrize("full", [False, True])
async def test_a_probe_takes_it_for_the_keeper(running: StandIn, full: bool) -> None:
    result = await probe(socket.AF_INET, ("127.0.0.1", running.port), full=full)

    assert result.reached is Reached.SPEAKS
    assert result.mtu is not None
    assert result.mss is not None


def test_it_answers_when_the_request_is_whole_and_not_before(running: StandIn) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as caller:
        whole = request(full=True)
        caller.sendall(whole[:-1])
        caller.settimeout(0.05)
        with pytest.raises(TimeoutError):
            caller.recv(100)
        caller.settimeout(10)
        caller.sendall(whole[-1:])
        assert caller.recv(100) == stand_in.INVALID_KEY
        assert caller.recv(100) == b""


def test_whoever_sends_nonsense_is_told_the_same(running: StandIn) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as caller:
        caller.sendall(b"\xff" * 8)
        assert caller.recv(100) == stand_in.INVALID_KEY


def test_many_who_say_nothing_do_not_keep_others_out(running: StandIn) -> None:
    silent = [
        socket.create_connection(("127.0.0.1", running.port))
        for _ in range(2 * stand_in.MAX_CALLERS)
    ]
    with socket.create_connection(("127.0.0.1", running.port)) as caller:
        caller.sendall(request())
        caller.settimeout(10)
        assert caller.recv(100) == stand_in.INVALID_KEY
    for caller in silent:
        caller.close()


def test_the_first_port_that_is_free_is_taken(running: StandIn) -> None:
    other = free_ports(1)[0]
    listener = stand_in.listen([running.port, other])
    assert listener is not None
    with listener:
        assert listener.getsockname()[1] == other
    assert stand_in.listen([running.port]) is None
