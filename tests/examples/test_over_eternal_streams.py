"""Protocols that know nothing of eternal streams, while every connection is cut again and again."""

from __future__ import annotations

import hashlib
import random
from functools import partial

import asyncssh
import http_h11
import protobuf_rpc
import pytest
import ssh
import trio
import websocket
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BytesValue, UInt64Value
from wsproto import ConnectionType

from eternals import PSK, cut_often, net
from trioet import open_eternal_stream

EVERY = 200_000
"""Bytes between two cuts."""


async def test_http() -> None:
    chance = random.Random(0)
    async with net(http_h11.serve_http) as made, cut_often(made.cutter, EVERY):
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            client = http_h11.HttpClient(stream)
            for size in (0, 10, 1_000_000, 3_000_000):
                response = await client.request("GET", f"/{size}")
                assert response == http_h11.Response(200, b"x" * size)
                body = chance.randbytes(size)
                response = await client.request("POST", "/", body)
                assert response.body.decode() == hashlib.sha256(body).hexdigest()

        assert made.cutter.cuts > 3
        assert made.server.statistics().opened == 1


async def test_websocket() -> None:
    async with net(websocket.serve_websocket) as made, cut_often(made.cutter, EVERY):
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            socket = websocket.WebSocket(stream, ConnectionType.CLIENT)
            await socket.shake_hands()
            texts = [f"message {number} " + "y" * (number * 1000 % 70_000) for number in range(60)]

            async def say() -> None:
                for text in texts:
                    await socket.send(text)

            got: list[str] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say)
                while len(got) < len(texts):
                    got.append(await socket.receive() or "")
            await socket.close()
            assert await socket.receive() is None

        assert got == [text.upper() for text in texts]
        assert made.cutter.cuts > 3


async def test_protobuf_rpc() -> None:
    answers: dict[int, bytes] = {}
    done: list[str] = []
    handler = partial(protobuf_rpc.serve_calls, protobuf_rpc.METHODS)
    async with net(handler) as made, cut_often(made.cutter, EVERY):
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            client = protobuf_rpc.Client(stream)

            async def turn(number: int) -> None:
                data = random.Random(number).randbytes(20_000)
                answer = BytesValue()
                (await client.call(BytesValue(value=data))).Unpack(answer)
                answers[number] = answer.value[::-1]
                done.append("turn")

            async def nap() -> None:
                answer = UInt64Value()
                (await client.call(Duration(nanos=300_000_000))).Unpack(answer)
                assert answer.value == 300_000_000
                done.append("nap")

            async with trio.open_nursery() as service:
                service.start_soon(client.run)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(nap)
                    for number in range(100):
                        nursery.start_soon(turn, number)
                with pytest.raises(protobuf_rpc.CallFailed, match="too much to turn"):
                    await client.call(BytesValue(value=bytes(100_001)))
                with pytest.raises(protobuf_rpc.CallFailed, match=r"nobody knows .*UInt64Value"):
                    await client.call(UInt64Value())
                service.cancel_scope.cancel()

        assert answers == {n: random.Random(n).randbytes(20_000) for n in range(100)}
        # Who is slow keeps nobody waiting.
        assert done.index("nap") > 0
        assert made.cutter.cuts > 3


async def test_ssh() -> None:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    data = random.Random(0).randbytes(2_000_000)
    async with net(partial(ssh.serve_ssh, host_key)) as made, cut_often(made.cutter, EVERY):
        async with open_eternal_stream("127.0.0.1", made.port, psk=PSK) as stream:
            out, errors = await ssh.run_command(stream, host_key, data)

        assert out == data
        assert errors == b"2000000 bytes"
        assert made.cutter.cuts > 3


@pytest.mark.parametrize("example", [http_h11, websocket, protobuf_rpc, ssh])
async def test_each_runs_by_itself(example: object, capsys: pytest.CaptureFixture[str]) -> None:
    await example.main()  # type: ignore[attr-defined]
    assert capsys.readouterr().out
