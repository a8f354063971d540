"""`trioet web` as a service: its process, listeners, pages, and what a keeper may refuse."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest
import trio
from websockets.exceptions import ConnectionClosed

from keepers import keepers_in
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


async def test_addresses_that_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments in (
            *(["-p", port], ["-a", "192.0.2.1"], ["-a", "no.such.invalid"], ["-a", "a..b"]),
        ):
            with pytest.raises(StepFailed, match="cannot listen on"):
                await listen(read_options([*arguments, *CAT]))


async def test_a_unix_socket_that_nobody_serves_is_replaced_and_no_other(
    runtime_dir: Path,
) -> None:
    path = runtime_dir / "web.sock"
    options = read_options(["--unix-socket", str(path), *CAT])
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with await listen(options):
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(StepFailed, match=r"cannot listen on .*web\.sock"):
            await listen(options)
    path.write_text("a file")
    with pytest.raises(StepFailed):
        await listen(options)
    assert path.read_text() == "a file"


async def test_what_came_to_where_its_unix_socket_was_is_left_alone(runtime_dir: Path) -> None:
    path = runtime_dir / "web.sock"
    with await listen(read_options(["--unix-socket", str(path), *CAT])):
        path.unlink()
        path.mkdir()
    assert path.is_dir()


@pytest.mark.parametrize("address", ["::", "localhost"])
async def test_all_addresses_are_both_families(address: str) -> None:
    with await listen(read_options(["-a", address, "-p", "0", *CAT])) as listener:
        for family in {sock.family for sock in listener.sockets} | {socket.AF_INET}:
            host = "127.0.0.1" if family == socket.AF_INET else "::1"
            socket.create_connection((host, listener.port)).close()


FEW: Final = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
os.execv(sys.executable, [sys.executable, "-m", "trioet.cli.main", "web", *sys.argv[1:]])
"""


async def test_too_few_descriptors_are_told_once_and_got_over() -> None:
    command = [sys.executable, "-c", FEW, "-p", "0", *CAT]
    process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = (await trio.to_thread.run_sync(process.stdout.readline)).decode()
    browser = Browser(int(re.findall(r":(\d+)/", said)[0]))
    with ExitStack() as many:
        for _ in range(40):
            many.enter_context(socket.create_connection(("127.0.0.1", browser.port)))
        line = b""
        while b"too many open files" not in line.lower():
            line = await trio.to_thread.run_sync(process.stderr.readline)
    with trio.fail_after(60):
        assert (await browser.get("healthz")).status == 200
    process.terminate()
    _, rest = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0
    assert b"Traceback" not in rest


def ended(*arguments: str, stdout: int | None = None) -> tuple[int, str]:
    """The status of one that cannot serve, and what it says."""
    command = [sys.executable, "-m", "trioet.cli.main", "web", "-q", "-p", "0", *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def test_a_link_that_cannot_be_printed_is_told_in_a_line() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        status, said = ended(*CAT, stdout=full)
    finally:
        os.close(full)
    assert (status, said) == (255, "trioet: cannot write the output: No space left on device\n")


@pytest.mark.parametrize(
    ("option", "data", "why"),
    [
        ("--index", None, "Is a directory"),
        ("--index", b"\xff", "not UTF-8"),
        ("--index", b"{{ .nothing }}", "nothing"),
        ("--favicon", None, "Is a directory"),
    ],
)
def test_pages_that_cannot_be_shown_are_told_in_a_line(
    tmp_path: Path, option: str, data: bytes | None, why: str
) -> None:
    path = tmp_path / "own.svg"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    status, said = ended(option, str(path), *CAT)
    assert (status, said.count("\n")) == (2, 1), said
    assert why in said


def test_a_key_that_was_damaged_is_made_anew(runtime_dir: Path) -> None:
    key = web_key()
    assert web_key() == key
    (runtime_dir / "web.key").write_bytes(b"short")
    assert len(web_key()) == 32


def test_a_key_that_cannot_be_read(runtime_dir: Path) -> None:
    (runtime_dir / "web.key").mkdir()
    with pytest.raises(LocalError, match=r"cannot read .*web\.key"):
        web_key()
