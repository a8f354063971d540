from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ports import free_ports
from trioet.doctor import probe as probing
from trioet.doctor.probe import Probe, Reached, probe, read_answer, request
from trioet.wire.handshake import Handshake, connect_response_frame
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[tuple[str, int]]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield "127.0.0.1", listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def tried(serve: Serve) -> Probe:
    async with server(serve) as address:
        return await probe(socket.AF_INET, address)


def answering(data: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(data)
        await stream.aclose()

    return serve


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_a_server_that_does_not_know_us_speaks_our_language() -> None:
    refusal = connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY))
    result = await tried(answering(refusal))
    assert result.reached is Reached.SPEAKS
    assert result.connected


async def test_another_version_of_the_protocol_is_told() -> None:
    refusal = connect_response_frame(ConnectResponse(ConnectStatus.MISMATCHED_PROTOCOL, b"old\n"))
    assert (await tried(answering(refusal)))[:2] == (Reached.MISMATCHED, "old")


async def test_a_stranger_is_told_by_its_words() -> None:
    assert (await tried(answering(b"SSH-2.0-x\r\n")))[:2] == (Reached.STRANGER, "SSH-2.0-x")


async def test_a_few_strange_bytes_are_strange_too() -> None:
    assert (await tried(answering(b"hm\n")))[:2] == (Reached.STRANGER, "hm")


async def test_a_server_that_hangs_up() -> None:
    assert (await tried(answering(b""))).reached is Reached.CLOSED


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "ANSWER_DEADLINE_S", 0.1)
    assert (await tried(silent)).reached is Reached.SILENT


async def test_a_server_that_hangs_up_late_is_one_that_has_just_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "PARKED_S", 0.0)
    assert (await tried(answering(b""))).reached is Reached.PARKED


async def test_who_waits_for_the_end_of_our_words_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    monkeypatch.setattr(probing, "SILENCE_S", 0.05)
    assert (await tried(serve))[:2] == (Reached.STRANGER, "HTTP/1.1 400 Bad Request")


async def test_a_port_where_nobody_listens() -> None:
    result = await probe(socket.AF_INET, ("127.0.0.1", free_ports(1)[0]))
    assert result.reached is Reached.REFUSED
    assert not result.connected


async def test_a_port_that_swallows_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue does, as a firewall would."""
    monkeypatch.setattr(probing, "CONNECT_DEADLINE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        with socket.create_connection(place):
            assert (await probe(socket.AF_INET, place)).reached is Reached.DROPPED


async def test_an_address_that_no_route_leads_to() -> None:
    result = await probe(socket.AF_INET, ("255.255.255.255", 9))
    assert result.reached is Reached.UNREACHABLE
    assert result.words


@pytest.mark.parametrize("full", [False, True])
def test_a_probe_is_a_request_that_any_server_reads(full: bool) -> None:
    handshake = Handshake.server()
    (event,) = handshake.feed(request(full=full))
    assert isinstance(event, ConnectRequest)
    assert len(event.client_id) == 16


def test_a_full_probe_does_not_fit_two_packets() -> None:
    assert len(request(full=True)) > 2 * 1460


@given(st.binary() | st.binary().map(lambda data: b"\x02" + bytes(7) + data))
def test_whatever_a_stranger_says_can_be_shown(data: bytes) -> None:
    if (verdict := read_answer(data)) is not None:
        assert verdict[1].isprintable()
        assert verdict[0] in (Reached.STRANGER, Reached.SPEAKS, Reached.MISMATCHED)
