"""TLS says who is there; the session's key is agreed on within, and used on plain connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio

from certificates import Authority
from eternals import PSK, echo, net, refusal
from trioet import EternalStream, open_eternal_stream
from waiting import until


async def test_a_session_introduced_by_tls_survives_cuts() -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server()) as made:
        how = {"ssl_context": authority.client(), "server_hostname": "localhost"}
        async with open_eternal_stream("127.0.0.1", made.port, **how) as stream:  # type: ignore[arg-type]
            for number in range(5):
                await stream.send_all(b"%d" % number)
                assert await stream.receive_some() == b"%d" % number
                made.cutter.cut()
            # A name it was called by, and not a subject: that is what trustme says of a server.
            assert stream.peer_certificate is not None
            assert ("DNS", "localhost") in stream.peer_certificate["subjectAltName"]

    assert stream.delivered


async def test_the_handler_knows_the_client_by_its_certificate() -> None:
    seen: list[Mapping[str, Any] | None] = []

    async def handle(stream: EternalStream) -> None:
        seen.append(stream.peer_certificate)

    authority = Authority()
    async with net(handle, psk=None, ssl_context=authority.server(asks=True)) as made:
        how = {"ssl_context": authority.client("anna.example"), "server_hostname": "localhost"}
        async with open_eternal_stream("127.0.0.1", made.port, **how) as stream:  # type: ignore[arg-type]
            assert await stream.receive_some() == b""

    (certificate,) = seen
    assert certificate is not None
    assert ("DNS", "anna.example") in certificate["subjectAltName"]


async def test_who_has_no_certificate_is_told() -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server(asks=True)) as made:
        told = await refusal(made.port, ssl_context=authority.client(), server_hostname="localhost")

    assert told.step == "tls"
    assert "certificate" in told.what.lower()
    assert "certificates of both ends" in told.hint


async def test_a_server_that_is_another_is_not_spoken_to() -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server("elsewhere.example")) as made:
        told = await refusal(made.port, ssl_context=authority.client(), server_hostname="localhost")
        stranger = await refusal(
            made.port, ssl_context=Authority().client(), server_hostname="elsewhere.example"
        )

    assert "Hostname mismatch" in told.what
    assert "issuer certificate" in stranger.what


async def test_a_pre_shared_key_is_refused_where_tls_is_asked_for() -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server()) as made:
        told = await refusal(made.port, psk=PSK)

    assert "introduced by TLS, not by a pre-shared key" in told.what


async def test_tls_is_refused_where_a_pre_shared_key_is_asked_for() -> None:
    authority = Authority()
    async with net(echo) as made:
        told = await refusal(made.port, ssl_context=authority.client(), server_hostname="localhost")

    assert told.step == "tls"


async def test_one_server_may_take_both() -> None:
    authority = Authority()
    async with net(echo, ssl_context=authority.server()) as made:
        by_tls = {"ssl_context": authority.client(), "server_hostname": "localhost"}
        for how in (by_tls, {"psk": PSK}):
            async with open_eternal_stream("127.0.0.1", made.port, **how) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some() == b"x"


async def test_tls_that_is_none_costs_its_connection() -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server()) as made:
        for nonsense in (b"\x16\x03\x01nonsense" * 10, b"\x16\x03", b"\x16", b"GET / HTTP/1.1\r\n"):
            stream = await trio.open_tcp_stream("127.0.0.1", made.server.port)
            async with stream:
                await stream.send_all(nonsense)
                await stream.send_eof()
                while await read(stream):
                    pass
        await until(lambda: made.server.statistics().refused >= 4)


async def read(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_a_hello_that_dribbles_in_is_tls(size: int) -> None:
    authority = Authority()
    async with net(echo, psk=None, ssl_context=authority.server()) as made:
        stream = await trio.open_tcp_stream("127.0.0.1", made.server.port)
        tls = trio.SSLStream(Dribble(stream, size), authority.client(), server_hostname="localhost")
        await tls.do_handshake()
        await trio.aclose_forcefully(tls)


class Dribble(trio.abc.Stream):
    """A few bytes first, and the rest a moment later."""

    def __init__(self, stream: trio.SocketStream, size: int) -> None:
        self._stream, self._size = stream, size

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data[: self._size])
        await trio.sleep(0.02)
        await self._stream.send_all(data[self._size :])

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
