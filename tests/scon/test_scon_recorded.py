"""Sessions of a real goscon, said again to ours, and by ours: byte for byte.

The recorded server's random numbers were never seeded, so its first private keys are known
(transcripts/goscon/vectors.json); the client's are in the recordings.
"""

from __future__ import annotations

import secrets
import socket
from base64 import b64decode
from functools import partial
from pathlib import Path

import pytest
import trio

from recorded_scon import SESSIONS, load, said, vectors
from scon_ends import QUICK, dial_port, listen, reset_at_close
from trioet.scon.directory import OwnDirectory
from trioet.scon.opening import open_scon_stream
from trioet.scon.policy import Secure
from trioet.scon.server import SconServer
from trioet.wire.scon_handshake import FrameReader, parse_new_answer
from waiting import until

LONG = 30.0

KEYS = vectors()["go_unseeded_server_keys"]
PRIVATE_OF = dict(zip(KEYS["public_b64"], KEYS["private"], strict=True))
COMMAND = 16
"""Bytes with which every recorded client tells the recorded backend what to do: to echo."""


def server_key(recording: dict[str, object]) -> str:
    """The server's public key, as it stands in its first answer."""
    answer = FrameReader().feed(said(recording, 0, "s2c"))
    assert answer is not None
    key = parse_new_answer(answer).public.to_bytes(8, "little")
    return next((text for text in PRIVATE_OF if b64decode(text) == key), "")


WITH_KEYS = [path for path in SESSIONS if server_key(load(path)) and "close" not in path.name]


async def echo_after_a_command(stream: trio.SocketStream) -> None:
    async with stream:
        command = b""
        while len(command) < COMMAND:
            command += await stream.receive_some(COMMAND - len(command))
        async for data in stream:
            await stream.send_all(data)


def has_read(server: SconServer, count: int) -> bool:
    return server.counters.bytes_up == count


def test_some_recordings_can_be_said_again() -> None:
    assert len(WITH_KEYS) >= 3


@pytest.mark.parametrize("path", WITH_KEYS, ids=lambda path: path.stem)
async def test_a_recorded_client_hears_what_it_heard(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = load(path)
    private = int(PRIVATE_OF[server_key(recording)], 16)
    monkeypatch.setattr(secrets, "randbelow", lambda _: private - 1)
    streams: dict[int, trio.SocketStream] = {}
    greeted: set[int] = set()
    stream_bytes = 0
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            backend = await listen(nursery, echo_after_a_command)
            directory = OwnDirectory(recording["id"])
            server = SconServer(dial_port(backend), QUICK, directory=directory)
            nursery.start_soon(server.serve, listener)
            for chunk in recording["chunks"]:
                connection = chunk["conn"]
                match chunk["event"], chunk.get("dir"):
                    case "open", _:
                        streams[connection] = await trio.open_tcp_stream("127.0.0.1", port)
                    case "data", "c2s":
                        words = bytes.fromhex(chunk["hex"])
                        await streams[connection].send_all(words)
                        stream_bytes += len(words) if connection in greeted else 0
                        greeted.add(connection)
                    case "data", _:
                        expected = bytes.fromhex(chunk["hex"])
                        heard = b""
                        while len(heard) < len(expected):
                            more = await streams[connection].receive_some(
                                len(expected) - len(heard)
                            )
                            assert more, "the server closed the connection"
                            heard += more
                        assert heard == expected
                    case "drop", _:
                        # What was not read goes with a reset; the recorded server had read all.
                        await until(partial(has_read, server, stream_bytes))
                        reset_at_close(streams[connection])
                        await streams[connection].aclose()
            for stream in streams.values():
                stream.socket.close()
            nursery.cancel_scope.cancel()


async def test_a_recorded_server_hears_what_it_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = load(SESSIONS[0])
    private = int(recording["client_private"], 16)
    monkeypatch.setattr(secrets, "randbelow", lambda _: private - 1)
    answers = said(recording, 0, "s2c")
    heard = b""

    async def play(stream: trio.SocketStream) -> None:
        nonlocal heard
        async with stream:
            await stream.send_all(answers)
            async for data in stream:
                heard += data

    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            port = await listen(nursery, play)
            async with open_scon_stream(
                "127.0.0.1", port, "test1", secure=Secure.OFF, close_timeout=1
            ) as stream:
                await stream.send_all(bytes.fromhex(recording["plain_c2s"]))
                got = b""
                while len(got) < recording["client_received"]:
                    got += await stream.receive_some()
                assert got == bytes.fromhex(recording["plain_s2c"])
            assert heard == said(recording, 0, "c2s")
            nursery.cancel_scope.cancel()
