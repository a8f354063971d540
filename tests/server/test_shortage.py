"""A router without descriptors: it goes on, serves who comes, and says so once."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from farside import FarSide
from trioet.wire.handshake import Handshake, connect_request_frame
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus

DESCRIPTORS = 40
WRONG_VERSION = connect_request_frame(ConnectRequest(b"1234567890123456", 5))
"""Answered at once, whoever asks."""


@pytest.fixture
def port(far_side: FarSide) -> int:
    port = far_side.start_router()
    assert far_side.router_pid is not None
    resource.prlimit(far_side.router_pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    return port


def idle_from(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(address, 0))


def test_idle_strangers_that_take_every_descriptor_keep_nobody_out(
    far_side: FarSide, port: int, runtime_dir: Path
) -> None:
    strangers = [idle_from(f"127.0.1.{number}", port) for number in range(1, 3 * DESCRIPTORS)]
    for number in range(10):
        with idle_from(f"127.0.2.{number + 1}", port) as visitor:
            visitor.settimeout(10)
            visitor.sendall(WRONG_VERSION)
            (response,) = Handshake.client().feed(visitor.recv(4096))
            assert isinstance(response, ConnectResponse)
            assert response.status is ConnectStatus.MISMATCHED_PROTOCOL
    for stranger in strangers:
        stranger.close()
    assert far_side.router_log().count("cannot accept: Too many open files") == 1
