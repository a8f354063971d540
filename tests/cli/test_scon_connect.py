"""`trioet scon connect` as its users run it, in front of a server in this process."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from farside import SOURCE
from ports import free_ports
from scon_ends import Cutter, echo, serving
from trioet.cli.main import main
from trioet.cli.scon_connect import parse_place
from trioet.errors import UsageError
from trioet.scon.policy import Policy, Secure
from waiting import until

COMMAND = [sys.executable, "-m", "trioet.cli.main", "scon", "connect"]
KEY = b"0123456789abcdef0123456789abcdef"
LONG = 60.0

run = partial(
    trio.run_process,
    capture_stdout=True,
    capture_stderr=True,
    check=False,
    env={**os.environ, "PYTHONPATH": SOURCE},
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("host:1248", ("host", 1248)),
        ("[::1]:1248", ("::1", 1248)),
        ("1248", ("here", 1248)),
        (":1248", ("here", 1248)),
    ],
)
def test_places(text: str, place: tuple[str, int]) -> None:
    assert parse_place(text, "here") == place


@pytest.mark.parametrize("text", ["", "host", "host:", "host:0", "host:65536", "::1:80", "a b:1"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError, match="write HOST:PORT"):
        parse_place(text, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1248"], "write HOST:PORT"),
        (["h:1", "--listen", "x"], "write HOST:PORT"),
        (["h:1", "--target", "two\nlines"], "of one line"),
        (["h:1", "--psk-file", "/no/such/file"], "/no/such/file: No such file"),
    ],
)
def test_a_command_line_that_cannot_be_followed(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scon", "connect", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_both_subcommands_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scon", "--help"])
    told = capsys.readouterr().out
    assert "serve" in told
    assert "connect" in told


@pytest.mark.e2e
@pytest.mark.parametrize("secure", ["off", "offered"])
async def test_stdin_goes_there_and_what_comes_back_to_stdout(secure: str) -> None:
    async def shout(stream: trio.SocketStream) -> None:
        async with stream:
            said = b""
            async for data in stream:
                said += data
                if said.endswith(b"\n"):
                    break
            await stream.send_all(said.upper())

    with trio.fail_after(LONG):
        async with serving(shout) as ends:
            place = f"127.0.0.1:{ends.port}"
            options = ["--target", "game", "--secure", secure, "--hide-address"]
            done = await run([*COMMAND, place, *options], stdin=b"hello\n")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"HELLO\n", b"")
            (call,) = ends.calls
            assert (call.target, call.hides_address) == (b"game", True)


@pytest.mark.e2e
async def test_a_key_on_both_sides_and_another(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file, key in ((right, KEY), (wrong, KEY[::-1])):
        file.touch(0o600)
        file.write_bytes(key + b"\n")
    policy = Policy(secure=Secure.REQUIRED, psk=KEY)

    async def goodbye(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"goodbye\n")

    with trio.fail_after(LONG):
        async with serving(goodbye, policy) as ends:
            place = f"127.0.0.1:{ends.port}"
            done = await run([*COMMAND, place, "--psk-file", str(right)])
            assert (done.returncode, done.stdout, done.stderr) == (0, b"goodbye\n", b"")
            done = await run([*COMMAND, place, "--psk-file", str(wrong)])
            assert (done.returncode, done.stdout) == (255, b"")
            assert b"another pre-shared key" in done.stderr
            assert len(done.stderr.splitlines()) == 2


@pytest.mark.e2e
async def test_nobody_there_is_told_in_two_lines(free_tcp_port: int) -> None:
    with trio.fail_after(LONG):
        done = await run([*COMMAND, f"127.0.0.1:{free_tcp_port}"])
        assert done.returncode == 255
        assert done.stderr.startswith(b"trioet: cannot connect to 127.0.0.1 port ")
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.e2e
async def test_connections_to_a_local_port_are_carried_and_resumed_each_by_itself() -> None:
    (port,) = free_ports(1)
    with trio.fail_after(LONG):
        async with serving(echo) as ends, trio.open_nursery() as nursery:
            cutter = Cutter(ends.port)
            await nursery.start(cutter.run)
            command = [*COMMAND, f"127.0.0.1:{cutter.port}", "--listen", str(port)]
            process = await nursery.start(partial(run, command))
            assert isinstance(process, trio.Process)
            first, second = [await connect(port) for _ in range(2)]
            for number in range(10):
                for stream in (first, second):
                    data = os.urandom(100 + number)
                    await stream.send_all(data)
                    cutter.cut()
                    got = b""
                    while len(got) < len(data):
                        got += await stream.receive_some()
                    assert got == data
            assert ends.server.counters.sessions == 2
            assert ends.server.counters.resumes >= 5
            await first.send_eof()
            assert await first.receive_some() == b""
            await first.aclose()
            await until(lambda: ends.server.counters.sessions == 1)
            await second.aclose()
            await until(lambda: ends.server.counters.sessions == 0)
            process.send_signal(signal.SIGINT)
            await process.wait()
            nursery.cancel_scope.cancel()


async def connect(port: int) -> trio.SocketStream:
    """As soon as somebody listens."""
    while True:
        try:
            return await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.02)
