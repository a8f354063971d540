"""GoTTY's and ttyd's clients: recorded ones, and what real servers get wrong."""

from __future__ import annotations

import base64
import json
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from trioet.web import service
from waiting import until
from web_hosts import python, sh, web_host

pytestmark = pytest.mark.usefixtures("runtime_dir")

TRANSCRIPTS = Path(__file__).with_name("recorded")
CAT = "stty raw -echo; echo READY; exec cat"


def hello(subprotocol: str, token: str = "", arguments: str = "") -> str | bytes:
    if subprotocol == "tty":
        return json.dumps({"AuthToken": token, "columns": 80, "rows": 24}).encode()
    return json.dumps({"Arguments": arguments, "AuthToken": token})


async def read_all(socket: ClientConnection) -> tuple[bytes, int | None, str | None]:
    """All output, and how the connection was closed."""
    found = bytearray()
    with trio.fail_after(60), suppress(ConnectionClosed):
        while True:
            message = await socket.recv()
            if isinstance(message, str) and message.startswith("1"):
                found += base64.b64decode(message[1:])
            elif isinstance(message, bytes) and message.startswith(b"0"):
                found += message[1:]
    return bytes(found), socket.close_code, socket.close_reason


def frames(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((TRANSCRIPTS / name).read_text())["frames"]
    return found


def said(frame: dict[str, Any]) -> str | bytes:
    text: str = frame["text"]
    return text if frame["op"] == 1 else text.encode("latin-1")


@pytest.mark.parametrize(
    ("subprotocol", "transcript"), [("webtty", "web-gotty-echo"), ("tty", "web-ttyd-echo")]
)
async def test_a_recorded_client_hears_what_it_heard_then(
    subprotocol: str, transcript: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    async with web_host("-w", *sh(CAT)) as host, host.browser.websocket(subprotocol) as socket:
        for frame in frames(f"{transcript}.json"):
            if frame["dir"] == "c2s":
                await socket.send(said(frame))
                continue
            expected = said(frame)
            with trio.fail_after(10):
                heard = await socket.recv()
            if expected == "61024":
                heard = "61024" if str(heard).startswith("6") else heard  # longer input is taken
            if isinstance(expected, bytes) and expected.startswith(b"2"):
                assert isinstance(heard, bytes)
                assert json.loads(expected[1:]) == json.loads(heard[1:])
            else:
                assert heard == expected


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_the_last_output_always_arrives(subprotocol: str) -> None:
    size = 300_000
    command = python(f"import sys; sys.stdout.write('x' * {size}); sys.exit(3)")
    async with web_host(*command) as host:
        for _ in range(8):
            async with host.browser.websocket(subprotocol) as socket:
                await socket.send(hello(subprotocol))
                output, code, reason = await read_all(socket)
                assert (len(output), code, reason) == (size, 1000, "exit status 3")


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_a_background_job_does_not_keep_it_open(subprotocol: str) -> None:
    async with (
        web_host(*sh("trap '' HUP; sleep 30 & echo done")) as host,
        host.browser.websocket(subprotocol) as socket,
    ):
        await socket.send(hello(subprotocol))
        with trio.fail_after(20):
            assert await read_all(socket) == (b"done\r\n", 1000, "exit status 0")


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_a_paste_of_ten_megabytes_arrives_whole(subprotocol: str) -> None:
    size = 10_000_000
    code = (
        "import hashlib, sys, tty; tty.setraw(0); print('ready', flush=True)\n"
        f"data = sys.stdin.buffer.read({size}); print(len(data), data == b'x' * {size})"
    )
    async with (
        web_host("-w", *python(code)) as host,
        host.browser.websocket(subprotocol) as socket,
    ):
        await socket.send(hello(subprotocol))
        while (await socket.recv())[:1] not in ("1", b"0"):
            pass
        pasted = b"x" * size
        await socket.send("1" + pasted.decode() if subprotocol == "webtty" else b"0" + pasted)
        output, _, _ = await read_all(socket)
        assert output.split() == [str(size).encode(), b"True"]


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_without_permission_nothing_is_typed(subprotocol: str) -> None:
    async with (
        web_host(*sh("stty -echo; timeout 1 cat; echo over")) as host,
        host.browser.websocket(subprotocol) as socket,
    ):
        await socket.send(hello(subprotocol))
        await socket.send("1hello\n" if subprotocol == "webtty" else b"0hello\n")
        output, _, _ = await read_all(socket)
        assert output == b"over\r\n"


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
@pytest.mark.parametrize("options", [[], ["--width", "90"], ["--width", "90", "--height", "20"]])
async def test_sizes_are_right(subprotocol: str, options: list[str]) -> None:
    expected = {0: b"24 80", 2: b"24 90", 4: b"20 90"}[len(options)]
    async with (
        web_host(*options, *sh("stty size")) as host,
        host.browser.websocket(subprotocol) as socket,
    ):
        await socket.send(hello(subprotocol))
        if subprotocol == "webtty":
            await socket.send('3{"Columns": 80.5, "rows": 24}')
        output, _, _ = await read_all(socket)
        assert output.strip() == expected


async def test_ttyds_client_may_pause_and_resume() -> None:
    code = "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"
    async with web_host("-w", *sh(code)) as host, host.browser.websocket("tty") as socket:
        await socket.send(hello("tty"))
        for _ in range(10):
            await socket.recv()
        await socket.send(b"2")
        with trio.fail_after(20):
            silent = False
            while not silent:  # what was on its way comes
                with trio.move_on_after(0.5) as patience:
                    await socket.recv()
                silent = patience.cancelled_caught
        await socket.send(b"3")
        with trio.fail_after(20):
            await socket.recv()
        await socket.send(b"0\x03")
        assert (await read_all(socket))[1:] == (1000, f"signal {signal.SIGINT.value}")


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_arguments_of_the_address(subprotocol: str) -> None:
    query = "?arg=one&arg=two"
    async with web_host("--permit-arguments", "--", "/bin/echo") as host:
        async with host.browser.websocket(subprotocol, query=query) as socket:
            await socket.send(hello(subprotocol, arguments=query))
            assert (await read_all(socket))[0] == b"one two\r\n"
        bad = "?arg=-n"
        async with host.browser.websocket(subprotocol, query=bad) as socket:
            await socket.send(hello(subprotocol, arguments=bad))
            assert (await read_all(socket))[1] == 1008


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_the_process_ends_with_its_connection(subprotocol: str, tmp_path: Path) -> None:
    code = f"trap 'echo $? > {tmp_path}/got; exit' INT; echo ready; while sleep 0.05; do :; done"
    async with web_host("--close-signal", "INT", *sh(code)) as host:
        async with host.browser.websocket(subprotocol) as socket:
            await socket.send(hello(subprotocol))
            for _ in range(3):
                await socket.recv()
        await until((tmp_path / "got").exists)


async def test_a_signal_that_ended_it_is_told() -> None:
    async with web_host(*sh("kill -KILL $$")) as host, host.browser.websocket("tty") as socket:
        await socket.send(hello("tty"))
        assert await read_all(socket) == (b"", 1000, f"signal {signal.SIGKILL.value}")


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_who_has_no_password_gets_no_process(subprotocol: str, tmp_path: Path) -> None:
    command = sh(f"touch {tmp_path}/ran; echo in")
    async with web_host("-c", "user:secret", *command) as host:
        for token in ("", "user:wrong", "user"):
            async with host.browser.websocket(subprotocol) as socket:
                await socket.send(hello(subprotocol, token))
                assert (await read_all(socket))[1] == 1008
        assert not (tmp_path / "ran").exists()
        async with host.browser.websocket(subprotocol) as socket:
            await socket.send(hello(subprotocol, "user:secret"))
            assert (await read_all(socket))[0] == b"in\r\n"
        basic = {"Authorization": "Basic " + base64.b64encode(b"user:secret").decode()}
        async with host.browser.websocket(subprotocol, basic) as socket:
            await socket.send(hello(subprotocol))
            assert (await read_all(socket))[0] == b"in\r\n"


@pytest.mark.parametrize(
    ("subprotocol", "message"),
    [("webtty", "9"), ("webtty", ""), ("webtty", "3{"), ("webtty", '3{"columns": true, "rows": 1}'),
     ("webtty", "3[]"), ("tty", b"1{"), ("tty", b'1{"columns": 1e99, "rows": 1}')],
)  # fmt: skip
async def test_nonsense_ends_the_connection(subprotocol: str, message: str | bytes) -> None:
    async with web_host("-w", *sh("cat")) as host, host.browser.websocket(subprotocol) as socket:
        await socket.send(hello(subprotocol))
        await socket.send(message)
        assert (await read_all(socket))[1] == 1002


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
@pytest.mark.parametrize("first", ["", "[]", "x", '{"AuthToken": 7}', "[" * 20000])
async def test_a_first_message_that_is_none(subprotocol: str, first: str) -> None:
    async with web_host("-w", *sh("cat")) as host, host.browser.websocket(subprotocol) as socket:
        await socket.send(first)
        assert (await read_all(socket))[1] == 1002


@pytest.mark.parametrize("subprotocol", ["webtty", "tty"])
async def test_a_command_puts_no_sequences_into_a_title(subprotocol: str) -> None:
    command = sh("exit 0  # \x1b]0;evil\x07\x9b31m")
    options = ["--title-format", "{{ .argv }}"]
    async with web_host(*options, *command) as host, host.browser.websocket(subprotocol) as socket:
        await socket.send(hello(subprotocol))
        message = await socket.recv()
        title = message if isinstance(message, str) else message.decode()
        assert "]0;evil" in title
        assert title.isprintable()


@pytest.mark.parametrize(
    ("options", "most"), [(["-w"], service.MAX_PASTE), ([], service.MAX_WORDS)]
)
async def test_an_endless_message_is_not_kept(options: list[str], most: int) -> None:
    async with web_host(*options, *sh("sleep 60")) as host, host.browser.websocket("tty") as socket:
        await socket.send(hello("tty"))
        with suppress(ConnectionClosed):
            await socket.send(b"0" + bytes(most))
        assert (await read_all(socket))[1] == 1009


async def test_gottys_clients_need_not_name_their_subprotocol() -> None:
    async with (
        web_host(*sh("echo hello")) as host,
        host.browser.websocket(None, origin=None) as socket,
    ):
        await socket.send(hello("webtty"))
        assert (await read_all(socket))[0] == b"hello\r\n"


async def test_a_page_elsewhere_may_not_use_them_either() -> None:
    async with web_host("-w", *sh("cat")) as host:
        for subprotocol in ("webtty", "tty", None):
            with pytest.raises(Exception, match="403"):
                async with host.browser.websocket(subprotocol, origin="http://evil.example"):
                    pass


async def test_moul_s_gotty_client_finds_its_way() -> None:
    """What it does, read off its source (moul/gotty-client, v1.10, ``--v2``): it asks for a token,
    names neither Origin nor subprotocol, says its password by HTTP and a ping before its size."""
    basic = {"Authorization": "Basic " + base64.b64encode(b"user:secret").decode()}
    async with web_host("-w", "-c", "user:secret", *sh("stty size; cat")) as host:
        script = await host.browser.get("auth_token.js", **basic)
        assert re.findall("var gotty_auth_token = '(.*)'", script.body.decode()) == [""]
        async with host.browser.websocket(None, basic, origin=None) as socket:
            await socket.send('{"AuthToken":"","Arguments":"?"}')
            await socket.send("2")
            await socket.send('3{"columns":90,"rows":20}')
            await socket.send("1hello\r\x04")
            output, code, _ = await read_all(socket)
            assert b"20 90" in output
            assert b"hello" in output
            await socket.wait_closed()
            assert code in (None, 1000)
