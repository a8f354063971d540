"""Sessions of visitors on another host: a real sshd, a real keeper there, and the link through
both."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed

from descriptors import descriptors
from farside import SOURCE, FarSide
from jumphosts import DESTINATION, journey
from keepers import keepers_in
from trioet.bootstrap.credentials import new_real_credentials
from trioet.cli.terminal import ask_keeper, connect_keeper
from trioet.cli.web_options import read_options
from trioet.server.request import INVITED, OpenRequest
from trioet.wire.handshake import connect_request_frame, connect_response_frame
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    Exec,
    InitialPayload,
    WindowSize,
)
from waiting import until
from web_hosts import WebHost, sh, web_host
from web_visitor import FEATURES, Visitor

pytestmark = pytest.mark.e2e

UNKNOWN = b"Client is not registered"
CAT = sh("stty -echo; echo ready; exec cat")


def to(far: FarSide, *options: str) -> list[str]:
    """The options that lead there."""
    return ["--connect", far.sshd.host_alias, "-F", str(far.sshd.ssh_config_path), *options]


@asynccontextmanager
async def visiting(host: WebHost, payload: InitialPayload | None = None) -> AsyncIterator[Visitor]:
    """A visitor with a session of its own, until the block ends."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            visitor = Visitor(host.browser, nursery, await host.browser.session())
        visitor.begin(payload)
        yield visitor
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("via", ["auto", "ssh", "direct"])
async def test_a_visitor_types_on_another_host_and_sees(far_side: FarSide, via: str) -> None:
    async with web_host("-w", *to(far_side, "--via", via), *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        visitor.type(b"hello\r")
        await visitor.until_shown(b"hello")
    of_visitor = far_side.sshd.logins - 1  # one opened the session
    assert of_visitor > 0 if via == "ssh" else of_visitor == 0


async def test_through_a_jumphost_everything_goes_by_ssh(tmp_path: Path, runtime_dir: Path) -> None:
    with journey(tmp_path, runtime_dir, "bastion") as way:
        words = ["--connect", DESTINATION, "-F", str(way.config), "--jump", "bastion"]
        async with web_host("-w", *words, *CAT) as host, visiting(host) as visitor:
            await visitor.until_shown(b"ready")
            visitor.type(b"hello\r")
            await visitor.until_shown(b"hello")
            assert way.hosts["bastion"].sshd.logins >= 2, "for the session, and for its visitor"


async def test_it_is_reached_by_the_router_of_that_host(far_side: FarSide) -> None:
    far_side.start_router()
    options = to(far_side, "--via", "direct")
    async with web_host("-w", *options, *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")


async def test_where_no_port_is_reached_it_goes_through_ssh(far_side: FarSide) -> None:
    far_side.start_router()
    async with web_host("-w", *to(far_side), *CAT) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, await host.browser.session())
        assert far_side.sshd.logins == 1
        far_side.stop_router()
        visitor.begin()
        await visitor.until_shown(b"ready")
        # More than one where a slow machine has let it try a second connection beside the first.
        assert far_side.sshd.logins > 1
        nursery.cancel_scope.cancel()


async def test_another_server_at_the_port_is_not_believed(far_side: FarSide) -> None:
    port = far_side.start_router()
    unknown = connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY, UNKNOWN))
    met = trio.Event()

    async def know_nobody(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(unknown)
        met.set()

    async with web_host("-w", *to(far_side), *CAT) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, await host.browser.session())
        far_side.stop_router()
        await nursery.start(partial(trio.serve_tcp, know_nobody, port, host="127.0.0.1"))
        visitor.begin()
        await visitor.until_shown(b"ready")
        assert met.is_set()
        nursery.cancel_scope.cancel()


async def test_nothing_is_left_behind(far_side: FarSide) -> None:
    before = descriptors()
    async with web_host("-w", *to(far_side, "--via", "ssh"), *CAT) as host:
        for _ in range(2):
            async with visiting(host) as visitor:
                await visitor.until_shown(b"ready")
    await until(lambda: descriptors() == before)


async def test_a_lost_connection_is_resumed_at_the_byte(far_side: FarSide) -> None:
    async with web_host("-w", *to(far_side), *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        for number in range(3):
            line = b"line %d" % number
            visitor.type(line + b"\r")
            await visitor.until_shown(line)
            assert visitor.socket is not None
            await trio.aclose_forcefully(visitor.socket.stream)
        assert visitor.shown.split() == b"ready line 0 line 1 line 2".split()


async def test_a_restart_of_the_server_is_survived(far_side: FarSide) -> None:
    async with trio.open_nursery() as nursery:
        async with web_host("-w", *to(far_side), *CAT) as host:
            visitor = Visitor(host.browser, nursery, await host.browser.session())
            visitor.begin()
            await visitor.until_shown(b"ready")
            port = host.browser.port
        visitor.type(b"typed meanwhile\r")
        async with web_host("-w", *to(far_side), *CAT, port=port):
            await visitor.until_shown(b"typed meanwhile")
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("via", ["ssh", "direct"])
async def test_the_end_comes_whole_and_ends_once(far_side: FarSide, via: str) -> None:
    options = ["--once", *to(far_side, "--via", via), *sh("seq 1 20000; exit 7")]
    async with web_host(*options) as host, visiting(host) as visitor:
        assert (await visitor.until_over()).status == 7
        assert visitor.shown == b"".join(b"%d\r\n" % number for number in range(1, 20001))
        with trio.fail_after(30):
            await host.ended.wait()


async def test_a_guest_there_has_what_is_granted_and_no_more(
    far_side: FarSide, tmp_path: Path
) -> None:
    code = f'stty -echo; pwd; echo "A=$A"; cat > {tmp_path}/typed; echo end'
    wishes = InitialPayload(
        environment={b"A": b"B"}, features=FEATURES, exec=Exec(b"echo mine", False)
    )
    async with web_host(*to(far_side), *sh(code)) as host, visiting(host, wishes) as visitor:
        await visitor.until_shown(b"A=")
        visitor.type(b"rm -rf\r\x04\x03")
        visitor.resize(WindowSize(10, 20))
        visitor.link.ping()
        await until(lambda: visitor.link.round_trip)
        await trio.sleep(0.1)
        assert (tmp_path / "typed").read_bytes() == b""
        assert visitor.shown == str(far_side.sshd.home).encode() + b"\r\nA=\r\n"


async def test_without_a_command_it_is_the_login_shell_there(far_side: FarSide) -> None:
    async with web_host("-w", *to(far_side)) as host, visiting(host) as visitor:
        visitor.type(b"echo $((6*7)) $0\rexit\r")
        assert (await visitor.until_over()).status == 0
        assert b"42 " in visitor.shown


async def answer_to(host: WebHost, client_id: bytes) -> bytes:
    """What is said to who asks for a session by its id, until the end."""
    said = b""
    with trio.fail_after(20):
        async with host.browser.websocket() as socket:
            await socket.send(connect_request_frame(ConnectRequest(client_id)))
            with suppress(ConnectionClosed):
                while True:
                    said += await socket.recv(decode=False)
            assert socket.close_code == 1000
    return said


async def test_sessions_of_the_user_there_are_out_of_reach_through_ssh(far_side: FarSide) -> None:
    own = new_real_credentials()
    os.close(await trio.to_thread.run_sync(connect_keeper))
    request = OpenRequest(own, "xterm", {}).encode()
    answer = await trio.to_thread.run_sync(ask_keeper, request)
    assert answer.startswith(INVITED)
    options = to(far_side, "--via", "ssh")
    async with web_host("-w", *options, *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        assert UNKNOWN in await answer_to(host, own.client_id.encode())


async def test_who_says_no_connect_request_is_hung_up_on_and_costs_no_login(
    far_side: FarSide,
) -> None:
    async with web_host("-w", *to(far_side), *CAT) as host, host.browser.websocket() as socket:
        await socket.send(b"\xff" * 64)
        with trio.fail_after(20):
            await socket.wait_closed()
        assert socket.close_code == 1011
    assert far_side.sshd.logins == 0


async def refusal(host: WebHost) -> str:
    """What a visitor is told who asks for a session."""
    with trio.fail_after(30):
        reply = await host.browser.post("api/session", {"arguments": []})
    assert reply.status == 503
    return f"{reply.json['error']} | {reply.json['hint']}"


async def test_an_older_trioet_there_opens_nothing_and_the_page_is_told(far_side: FarSide) -> None:
    code = "import sys; from trioet.cli.terminal import main; sys.exit(main([]))"  # no --guest
    env = f"TRIOET_RUNTIME_DIR={far_side.runtime_dir} PYTHONPATH={SOURCE}"
    far_side.sshd.put_program("trioet", f"{env} exec {sys.executable} -c '{code}'")
    async with web_host(*to(far_side), *CAT) as host:
        said = await refusal(host)
    assert said == (
        "the trioet on farside is too old for visitors of the web | "
        "`trioet install farside` updates it there"
    )
    assert keepers_in(far_side.runtime_dir) == []


async def test_etterminal_is_asked_for_nothing(far_side: FarSide) -> None:
    (far_side.sshd.bin / "trioet").unlink()
    far_side.sshd.put_program("etterminal", 'touch "$HOME/asked"')
    async with web_host(*to(far_side), *CAT) as host:
        assert "trioet was not found on farside" in await refusal(host)
    assert not (far_side.sshd.home / "asked").exists()


async def test_a_command_that_is_not_there_is_named(far_side: FarSide) -> None:
    async with web_host(*to(far_side), "--", "no-such-thing") as host:
        assert "farside: no-such-thing: there is no such command" in await refusal(host)


async def test_ssh_asks_nobody_and_the_page_is_told_in_words(far_side: FarSide) -> None:
    (far_side.sshd.directory / "authorized_keys").write_text("")
    async with web_host(*to(far_side), *CAT) as host:
        said = await refusal(host)
    assert "ssh could not reach a shell on farside" in said
    assert "`ssh farside true` has to work without a question" in said


async def test_a_session_that_went_with_its_keeper_is_known_to_have_gone(
    far_side: FarSide,
) -> None:
    options = to(far_side, "--via", "ssh")
    async with web_host("-w", *options, *CAT) as host, visiting(host) as visitor:
        await visitor.until_shown(b"ready")
        for keeper in keepers_in(far_side.runtime_dir):
            os.kill(keeper, signal.SIGKILL)
        visitor.leave()
        assert UNKNOWN in await answer_to(host, visitor.client_id)


def test_gottys_protocols_would_run_the_command_here_and_are_not_spoken() -> None:
    assert read_options(["--connect", "far", "--", "sh"]).only_link
    assert read_options(["--e2e", "--", "sh"]).only_link
    assert not read_options(["--", "sh"]).only_link


@pytest.mark.parametrize("subprotocol", ["webtty", "tty", None])
async def test_no_process_starts_here_for_another_host(
    far_side: FarSide, subprotocol: str | None
) -> None:
    async with web_host("-w", *to(far_side), *CAT) as host:
        with pytest.raises(Exception, match="HTTP 4"):
            async with host.browser.websocket(subprotocol):
                pass
