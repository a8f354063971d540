"""`trioet web` as a service: its process, listeners, pages, and what a keeper may refuse."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed

from keepers import keepers_in
from ports import free_ports
from trioet.cli.web import KeeperSessions, web_key
from trioet.cli.web_options import read_options
from trioet.errors import LocalError, StepFailed
from trioet.web import front, limits, visitors
from trioet.web.service import listen
from web_hosts import sh, web_host
from web_visitor import Browser, Visitor

pytestmark = pytest.mark.usefixtures("runtime_dir")

CAT = sh("stty -echo; echo ready; exec cat")


class Process:
    """A `trioet web` of its own, on a port that it says."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "trioet.cli.main", "web", "-p", str(port), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().decode()
        found = re.search(r":(\d+)/", self.said)
        assert found, self.said
        self.browser = Browser(int(found[1]))

    def end(self, number: int) -> tuple[int, bytes]:
        """Its exit status, and what it has said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_serves_until_it_is_told(number: int) -> None:
    served = await trio.to_thread.run_sync(Process, "-w", *CAT)
    assert served.said == f"trioet web: http://127.0.0.1:{served.browser.port}/\n"
    assert (await served.browser.get("healthz")).status == 200
    status, said = await trio.to_thread.run_sync(served.end, number)
    assert status == 0
    assert b"Traceback" not in said


async def test_a_kill_of_the_process_is_survived(runtime_dir: Path) -> None:
    served = await trio.to_thread.run_sync(Process, "-w", *CAT)
    async with trio.open_nursery() as nursery:
        visitor = Visitor(served.browser, nursery, await served.browser.session())
        visitor.begin()
        await visitor.until_shown(b"ready")
        await trio.to_thread.run_sync(served.end, signal.SIGKILL)
        visitor.type(b"typed meanwhile\r")
        port = served.browser.port
        again = await trio.to_thread.run_sync(lambda: Process("-q", "-w", *CAT, port=port))
        await visitor.until_shown(b"typed meanwhile")
        _, said = await trio.to_thread.run_sync(again.end, signal.SIGTERM)
        assert b"INFO" not in said
        nursery.cancel_scope.cancel()


async def test_the_keeper_is_nobodys_child(runtime_dir: Path) -> None:
    served = await trio.to_thread.run_sync(Process, *CAT)
    await served.browser.session()
    (keeper,) = keepers_in(runtime_dir)
    assert parent(keeper) != served.process.pid
    await trio.to_thread.run_sync(served.end, signal.SIGTERM)


def parent(pid: int) -> int:
    """Of a process, as proc(5) says."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# Pages


async def test_below_a_path_everything_is_below_it() -> None:
    async with web_host("-m", "/deep/er", *CAT) as host:
        assert host.url.endswith("/deep/er/")
        assert (await host.browser.get("healthz")).status == 200
        assert (await Browser(host.browser.port).get("healthz")).status == 404
        to_it = await Browser(host.browser.port, base="/deep/er").get()
        assert (to_it.status, to_it.fields["location"]) == (301, "/deep/er/")
        host.browser.cookie = ""
        await host.browser.session()


async def test_an_index_page_of_the_operators(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text("<h1>{{ .title }}</h1>")
    options = ["--index", str(tmp_path / "own.html"), "--title-format", "<{{ .command }}>"]
    async with web_host(*options, *CAT) as host:
        reply = await host.browser.get()
        assert reply.body == b"<h1>&lt;sh&gt;</h1>"
        assert "content-security-policy" in reply.fields


async def test_an_icon_of_the_operators(tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(b"\x89PNG")
    async with web_host("--favicon", str(tmp_path / "own.png"), *CAT) as host:
        reply = await host.browser.get("icon.svg")
        assert (reply.body, reply.fields["content-type"]) == (b"\x89PNG", "image/png")


async def test_signs_of_life_come_as_often_as_the_operator_wants() -> None:
    async with (
        web_host("--ping-interval", "1", *CAT) as host,
        await trio.open_tcp_stream("127.0.0.1", host.browser.port) as stream,
    ):
        head = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{host.browser.port}\r\n" + (
            f"Origin: {host.browser.origin}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
            "Sec-WebSocket-Protocol: trioet\r\n\r\n"
        )
        await stream.send_all(head.encode())
        heard = b""
        with trio.fail_after(10):
            while not heard.partition(b"\r\n\r\n")[2]:
                heard += await stream.receive_some()
        assert heard.partition(b"\r\n\r\n")[2][:1] == b"\x89"  # FIN, and a ping (RFC 6455, 5.5.2)


@pytest.mark.parametrize("subprotocol", ["trioet", "webtty"])
@pytest.mark.parametrize("passes", [False, True])
async def test_a_program_is_told_of_its_request_if_the_operator_wants_that(
    subprotocol: str, *, passes: bool
) -> None:
    options = ["--pass-headers"] if passes else []
    said = {
        "X-Remote-User": "ann",
        "X_Remote_User": "forged",
        "Proxy": "http://evil.example/",
        "Cookie": "secret",
    }
    async with web_host(*options, *sh("env | grep ^HTTP_; echo end")) as host:
        host.browser.headers |= said
        async with trio.open_nursery() as nursery:
            if subprotocol == "trioet":
                visitor = Visitor(host.browser, nursery, await host.browser.session())
                visitor.begin()
                await visitor.until_over()
                shown = visitor.shown
            else:
                async with host.browser.websocket(subprotocol) as socket:
                    await socket.send("{}")
                    await socket.send('3{"columns": 80, "rows": 24}')
                    shown = b""
                    with suppress(ConnectionClosed):
                        while True:
                            message = str(await socket.recv())
                            if message.startswith("1"):
                                shown += base64.b64decode(message[1:])
            nursery.cancel_scope.cancel()
    assert (b"HTTP_X_REMOTE_USER=ann\r\n" in shown) == passes
    for word in (b"forged", b"evil", b"secret", b"WEBSOCKET"):
        assert word not in shown
    assert shown.endswith(b"end\r\n")


async def test_what_the_page_is_told() -> None:
    options = ["-w", "--reconnect", "--width", "90", "--permit-arguments", "--title-format", "t"]
    options += ["--ws-query-args", "a=b"]
    async with web_host(*options, *CAT) as host:
        config = (await host.browser.get("api/config")).json
        del config["version"]
        assert config == {
            **{"login": "no", "ways": [], "title": "t", "write": True, "reconnect": 10},
            **{"columns": 90, "rows": 0, "arguments": True, "query": "a=b", "preferences": {}},
        }


# What may be refused


async def test_a_login_has_to_say_something() -> None:
    async with web_host("-c", "a:b", *CAT) as host:
        wrong: list[object] = [{}, {"user": "a"}, {"token": 7}, {"user": [], "password": {}}]
        for said in wrong:
            assert (await host.browser.post("api/login", said)).status == 400
        assert (await host.browser.ask("POST", "api/login", b"[]")).status == 400


async def test_what_a_keeper_refuses_the_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [StepFailed("keeper", "no room", "end some"), LocalError("no keeper")]

    async def refuse(self: KeeperSessions, arguments: object, environment: object) -> None:
        raise refusals.pop(0)

    monkeypatch.setattr(KeeperSessions, "open", refuse)
    async with web_host(*CAT) as host:
        first = await host.browser.post("api/session", {})
        assert (first.status, first.json) == (503, {"error": "no room", "hint": "end some"})
        second = await host.browser.post("api/session", {})
        assert (second.status, second.json["error"]) == (503, "no keeper")


async def test_an_older_keeper_says_what_to_do(runtime_dir: Path) -> None:
    """One that knows no guests: it answers so to every request."""
    path = str(runtime_dir / "keeper.sock")
    sessions = KeeperSessions(read_options(CAT))
    said = [
        b'TRIOET-ERROR:{"step": "keeper", "what": "a request that this keeper does not know"}\n',
        b'TRIOET-ERROR:{"step": "keeper", "what": "full", "hint": "wait"}\n',
        b"nonsense\n",
        b"",
    ]

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            async for _ in stream:
                pass
            await stream.send_all(said.pop(0))

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    async with trio.open_nursery() as nursery:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        for expected in ("older trioet's", "full", "does not answer", "does not answer"):
            with pytest.raises(LocalError, match=expected):
                await sessions.open([], {})
        nursery.cancel_scope.cancel()
    os.unlink(path)


async def test_more_sessions_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "MAX_SESSIONS", 1)
    async with web_host("-w", *CAT) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, await host.browser.session())
        visitor.begin()
        refused = await host.browser.post("api/session", {})
        assert refused.status == 503
        assert refused.fields["retry-after"] == "10"
        await visitor.until_shown(b"ready")
        visitor.type(b"\x04")
        await visitor.until_over()
        with trio.fail_after(20):
            while (await host.browser.post("api/session", {})).status != 200:  # noqa: ASYNC110
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


async def test_more_connections_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MAX_CONNECTIONS", 1)
    async with web_host(*CAT) as host, await host.browser.stream():
        await until_refused(host.browser)
    assert limits.MAX_CONNECTIONS > 1


async def until_refused(browser: Browser) -> None:
    with trio.fail_after(20):
        asked = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
        while await browser.raw(asked):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


async def test_a_fault_of_ours_costs_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with web_host(*CAT) as host:

        def fault(head: bytes) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as faulty:
            faulty.setattr(front, "parse_head", fault)
            assert await host.browser.raw(b"GET / HTTP/1.1\r\n\r\n") == b""
        assert (await host.browser.get("healthz")).status == 200
    assert "a fault in trioet" in caplog.text


# Listeners


def test_addresses_that_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments in (["-p", port], ["-a", "192.0.2.1"], ["-a", "no.such.invalid"]):
            with pytest.raises(StepFailed, match="cannot listen on"):
                listen(read_options([*arguments, *CAT]))


def test_a_unix_socket_that_nobody_serves_is_replaced_and_no_other(runtime_dir: Path) -> None:
    path = runtime_dir / "web.sock"
    options = read_options(["--unix-socket", str(path), *CAT])
    listen(options).close()
    with listen(options), pytest.raises(StepFailed, match=r"cannot listen at .*web\.sock"):
        listen(options)
    path.unlink()
    path.write_text("a file")
    with pytest.raises(StepFailed):
        listen(options)
    assert path.read_text() == "a file"


def test_all_addresses_are_both_families() -> None:
    with listen(read_options(["-a", "::", "-p", str(free_ports(1)[0]), *CAT])) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_key_that_was_damaged_is_made_anew(runtime_dir: Path) -> None:
    key = web_key()
    assert web_key() == key
    (runtime_dir / "web.key").write_bytes(b"short")
    assert len(web_key()) == 32


def test_a_key_that_cannot_be_read(runtime_dir: Path) -> None:
    (runtime_dir / "web.key").mkdir()
    with pytest.raises(LocalError, match=r"cannot read .*web\.key"):
        web_key()
