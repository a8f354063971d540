"""Sessions in the browser: the link through a WebSocket to a real keeper."""

from __future__ import annotations

import hashlib
import os
import signal
import socket as socket_module
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed

from descriptors import descriptors
from keepers import keepers_in
from trioet.web import visitors
from trioet.wire.channels import ChannelOpen, ChannelRefused, TrioetChannels
from trioet.wire.forward import Address
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.handshake import connect_request_frame
from trioet.wire.messages import ConnectRequest, Exec, InitialPayload, WindowSize
from trioet.wire.packet import PacketType
from trioet.wire.reach import Failure
from waiting import until
from web_hosts import WebHost, python, sh, web_host
from web_visitor import FEATURES, Visitor

pytestmark = pytest.mark.usefixtures("runtime_dir")

CHANNEL = PacketType.CHANNEL
CAT = sh("stty -echo; echo ready; exec cat")


@asynccontextmanager
async def visiting(
    host: WebHost, payload: InitialPayload | None = None, size: WindowSize | None = None
) -> AsyncIterator[Visitor]:
    """A visitor with a session of its own, until the block ends."""
    async with trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, await host.browser.session())
        visitor.begin(payload, size)
        yield visitor
        nursery.cancel_scope.cancel()


async def test_a_visitor_types_and_sees() -> None:
    async with web_host("-w", *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.type(b"hello\r")
        await visitor.until_shown(b"hello")


async def test_the_end_comes_whole_with_the_exit_status_and_close_1000() -> None:
    async with web_host(*sh("seq 1 60000; exit 7")) as host, visiting(host) as visitor:
        assert (await visitor.until_over()).status == 7
        assert visitor.shown == b"".join(b"%d\r\n" % number for number in range(1, 60001))
        socket = visitor.socket
        assert socket is not None
        await until(lambda: socket.close_code == 1000)


async def test_a_signal_that_ended_the_command_is_told() -> None:
    async with web_host(*sh("kill -TERM $$")) as host, visiting(host) as visitor:
        assert (await visitor.until_over()).signal == signal.SIGTERM


async def test_a_lost_connection_is_resumed_at_the_byte() -> None:
    async with web_host("-w", *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        for number in range(5):
            line = b"line %d" % number
            visitor.type(line + b"\r")
            await visitor.until_shown(line)
            assert visitor.socket is not None
            await trio.aclose_forcefully(visitor.socket.stream)
        assert visitor.shown.split() == b"ready line 0 line 1 line 2 line 3 line 4".split()


async def test_a_restart_of_the_server_is_survived() -> None:
    async with trio.open_nursery() as nursery:
        async with web_host("-w", *CAT) as host:
            visitor = Visitor(host.browser, nursery, await host.browser.session())
            visitor.begin()
            await visitor.until_shown(b"ready")
            port = host.browser.port
        visitor.type(b"typed meanwhile\r")
        async with web_host("-w", *CAT, port=port):
            await visitor.until_shown(b"typed meanwhile")
            nursery.cancel_scope.cancel()


async def test_pages_are_told_that_the_server_goes() -> None:
    async with web_host("-w", *CAT) as host:
        await host.browser.session()
        async with host.browser.websocket() as socket:
            await socket.send(b"\0")
            os.kill(os.getpid(), signal.SIGTERM)
            await socket.wait_closed()
            assert socket.close_code == 1001
        with trio.fail_after(10):
            await host.ended.wait()


async def test_who_may_not_write_is_not_heard_whatever_is_sealed(tmp_path: Path) -> None:
    code = f"stty -echo; echo ready; cat > {tmp_path}/typed; echo end"
    async with web_host(*sh(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.type(b"rm -rf\r\x04\x03")
        visitor.link.send(PacketType.STDIN_EOF, b"end of input")
        visitor.resize(WindowSize(10, 20))
        visitor.link.ping()
        await until(lambda: visitor.link.round_trip)
        await trio.sleep(0.1)
        assert (tmp_path / "typed").read_bytes() == b""
        assert b"end" not in visitor.shown


async def test_what_a_guest_wants_run_is_not_run(tmp_path: Path) -> None:
    wish = InitialPayload(
        {b"EVIL": b"yes", b"PATH": b"/nowhere"},
        features=FEATURES,
        exec=Exec(f"touch {tmp_path}/evil".encode()),
    )
    command = sh('echo "[$EVIL]"; date > /dev/null && echo fine')
    async with web_host(*command) as host, visiting(host, wish) as visitor:
        assert (await visitor.until_over()).status == 0
        assert visitor.shown.split() == [b"[]", b"fine"]
    assert not (tmp_path / "evil").exists()


async def test_a_guest_has_no_tunnels() -> None:
    features = (*FEATURES, "channels")
    channels = TrioetChannels()
    with socket_module.create_server(("127.0.0.1", 0)) as secret:
        secret.setblocking(False)
        where = Address(*secret.getsockname())
        wish = InitialPayload(features=features, listens=(Listen(1, Address("127.0.0.1", 0)),))
        async with web_host("-w", *CAT) as host, visiting(host, wish) as visitor:
            await visitor.until_shown(b"ready")
            for asked in (ChannelOpen(3, 0, where, 1000), Listen(5, Address("127.0.0.1", 0))):
                packet = channels.encode(asked)
                assert packet is not None
                visitor.link.send(*packet)
            heard: list[object] = []

            def answers() -> list[object]:
                packets = visitor.inbox.packets
                heard[:] = [channels.decode(each) for each in packets if each.type == CHANNEL]
                return [each for each in heard if isinstance(each, ChannelRefused | Listening)]

            await until(lambda: len(answers()) == 2)
            refused = next(each for each in heard if isinstance(each, ChannelRefused))
            assert refused.why is Failure.NOT_ALLOWED
            listening = next(each for each in heard if isinstance(each, Listening))
            assert "no tunnels" in listening.error
            with pytest.raises(BlockingIOError):
                secret.accept()


async def test_the_command_runs_where_the_server_was_started_without_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "import os, sys; print(os.getcwd(), sys.argv[1:])"
    command = [*python(code), "$HOME; `id`", "", "-x", "*"]
    async with web_host(*command) as host, visiting(host) as visitor:
        await visitor.until_over()
        assert visitor.shown.decode().strip() == f"{tmp_path} {['$HOME; `id`', '', '-x', '*']}"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ([], b"30 100"),
        (["--width", "90"], b"30 90"),
        (["--height", "20"], b"20 100"),
        (["--width", "90", "--height", "20"], b"20 90"),
    ],
)
async def test_sizes_are_right(options: list[str], size: bytes) -> None:
    seen = WindowSize(30, 100)
    async with web_host(*options, *sh("stty size")) as host, visiting(host, size=seen) as visitor:
        await visitor.until_over()
        assert visitor.shown.strip() == size


async def test_a_fixed_size_stays() -> None:
    code = "trap 'stty size' WINCH; echo ready; while sleep 0.05; do :; done"
    async with web_host("--width", "90", *sh(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.resize(WindowSize(11, 22))
        await visitor.until_shown(b"11 90")


async def test_arguments_are_appended() -> None:
    command = ["--permit-arguments", "--", "/bin/echo", "first"]
    async with web_host(*command) as host, trio.open_nursery() as nursery:
        credentials = await host.browser.session("second", "a/b:c@d,e=f")
        visitor = Visitor(host.browser, nursery, credentials)
        visitor.begin()
        await visitor.until_over()
        assert visitor.shown == b"first second a/b:c@d,e=f\r\n"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "arguments",
    [["-rf"], ["a b"], ["$(id)"], ["a\nb"], ["a\0b"], [""], ["x" * 2000], ["x"] * 40, [7], "text"],
)
async def test_other_arguments_are_refused(arguments: object) -> None:
    async with web_host("--permit-arguments", "--", "/bin/echo") as host:
        reply = await host.browser.post("api/session", {"arguments": arguments})
        assert reply.status == 400
        assert "argument" in reply.json["error"]


async def test_no_arguments_are_taken_unless_permitted() -> None:
    async with web_host("--", "/bin/echo") as host:
        reply = await host.browser.post("api/session", {"arguments": ["x"]})
        assert reply.status == 400
        assert "--permit-arguments" in reply.json["hint"]


async def test_a_flood_that_nobody_reads_stops_its_program(runtime_dir: Path) -> None:
    code = "import sys\nwhile True: sys.stdout.write('y' * 999 + '\\n')"
    async with web_host(*python(code)) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, await host.browser.session())
        visitor.begin()
        await until(lambda: len(visitor.shown) > 1000)
        visitor.inbox.busy = trio.Event()
        seen = 0
        with trio.fail_after(20):
            while seen != (seen := len(visitor.shown)):  # noqa: ASYNC110 - until it rests
                await trio.sleep(0.3)
        assert seen < 4 * 1024 * 1024
        (keeper,) = keepers_in(runtime_dir)
        assert resident(keeper) < 200 << 20
        nursery.cancel_scope.cancel()


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


async def test_ctrl_c_overtakes_a_flood() -> None:
    code = "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"
    async with web_host("-w", *sh(code)) as host, visiting(host) as visitor:
        await until(lambda: len(visitor.shown) > 100_000)
        visitor.type(b"\x03")
        assert (await visitor.until_over()).signal == signal.SIGINT


async def test_a_paste_of_ten_megabytes_arrives_whole() -> None:
    size = 10_000_000
    code = (
        "import hashlib, sys, tty; tty.setraw(0); print('ready', flush=True)\n"
        f"data = sys.stdin.buffer.read({size}); print(hashlib.sha256(data).hexdigest())"
    )
    async with web_host("-w", *python(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        pasted = os.urandom(size // 100) * 100
        for start in range(0, size, 16384):
            await visitor.link.wait_room()
            visitor.type(pasted[start : start + 16384])
        await visitor.until_over()
        assert hashlib.sha256(pasted).hexdigest().encode() in visitor.shown


async def test_a_guest_who_does_not_come_back_is_not_waited_for(tmp_path: Path) -> None:
    code = f"trap 'echo bye > {tmp_path}/ended; exit' HUP; echo ready; while sleep 0.05; do :; done"
    async with web_host("--linger", "1", *sh(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.leave()
        await until((tmp_path / "ended").exists)


async def test_a_guest_who_is_there_may_stay(tmp_path: Path) -> None:
    async with web_host("--linger", "0", "-w", *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.type(b"still there\r")
        await visitor.until_shown(b"still there")


async def test_the_close_signal_is_what_the_program_gets(tmp_path: Path) -> None:
    code = (
        f"trap 'echo usr1 > {tmp_path}/got; exit' USR1; trap 'echo hup > {tmp_path}/got; exit' HUP;"
        "echo ready; while sleep 0.05; do :; done"
    )
    options = ["--linger", "0", "--close-signal", "USR1"]
    async with web_host(*options, *sh(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.leave()
        await until(lambda: (tmp_path / "got").exists() and (tmp_path / "got").read_text())
        assert (tmp_path / "got").read_text() == "usr1\n"


async def test_a_program_that_heeds_no_signal_is_killed(tmp_path: Path) -> None:
    code = f"trap '' HUP; echo $$ > {tmp_path}/pid; echo ready; while sleep 0.05; do :; done"
    options = ["--linger", "0", "--close-timeout", "1"]
    async with web_host(*options, *sh(code)) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        pid = int((tmp_path / "pid").read_text())
        visitor.leave()
        await until(lambda: not os.path.exists(f"/proc/{pid}"))


async def test_once_ends_when_that_session_is_over() -> None:
    async with web_host("-w", "--once", *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        second = await host.browser.post("api/session", {})
        assert second.status == 503
        assert visitor.socket is not None
        await trio.aclose_forcefully(visitor.socket.stream)  # no reason to end, as with GoTTY
        visitor.type(b"still\r")
        await visitor.until_shown(b"still")
        visitor.type(b"\x04")
        await visitor.until_over()
        with trio.fail_after(10):
            await host.ended.wait()


async def test_timeout_ends_it_when_nobody_comes() -> None:
    async with web_host("--timeout", "1", *CAT) as host:
        with trio.fail_after(10):
            await host.ended.wait()


async def test_visitors_beyond_max_connection_are_told_to_come_later() -> None:
    async with web_host("--max-connection", "1", *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        async with host.browser.websocket() as socket:
            await socket.wait_closed()
            assert socket.close_code == 1013


async def test_sessions_that_went_with_their_keeper_are_known_to_have_gone(
    runtime_dir: Path,
) -> None:
    for leave_behind in (False, True):
        if leave_behind:
            with socket_module.socket(socket_module.AF_UNIX) as dead:
                dead.bind(str(runtime_dir / "guests.sock"))
        async with web_host(*CAT) as host, host.browser.websocket() as socket:
            await socket.send(connect_request_frame(ConnectRequest(b"1234567890123456")))
            answer = await socket.recv()
            assert isinstance(answer, bytes)
            assert b"not registered" in answer
            await socket.wait_closed()
            assert socket.close_code == 1000


async def test_a_keeper_that_cannot_be_reached_is_no_reason_to_give_up(runtime_dir: Path) -> None:
    (runtime_dir / "guests.sock").symlink_to("guests.sock")
    async with web_host(*CAT) as host, host.browser.websocket() as socket:
        await socket.send(b"hello")
        await socket.wait_closed()
        assert socket.close_code == 1011


async def test_who_says_nothing_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "FIRST_WORDS_S", 0.1)
    async with web_host(*CAT) as host, host.browser.websocket() as socket:
        await socket.wait_closed()
        assert socket.close_code == 1002


async def test_text_is_no_link() -> None:
    async with web_host(*CAT) as host:
        await host.browser.session()
        async with host.browser.websocket() as socket:
            await socket.send("hello")
            await socket.wait_closed()
            assert socket.close_code == 1003


async def test_an_endless_message_is_not_kept() -> None:
    async with web_host(*CAT) as host:
        await host.browser.session()
        async with host.browser.websocket() as socket:
            with suppress(ConnectionClosed):
                await socket.send(bytes(1 << 21))
            await socket.wait_closed()
            assert socket.close_code == 1009


async def test_nothing_is_left_of_a_visit() -> None:
    async with web_host("-w", *CAT) as host:
        before = 0
        for visit in range(3):
            async with visiting(host) as visitor:
                await visitor.until_shown(b"ready")
                visitor.type(b"\x04")
                await visitor.until_over()
                socket = visitor.socket
                assert socket is not None
                await until(lambda socket=socket: socket.close_code is not None)  # type: ignore[misc]
            if not visit:
                await trio.sleep(0.2)
                before = descriptors()
        await until(lambda: descriptors() <= before)
