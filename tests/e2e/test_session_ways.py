"""One port, or none: the same session over whatever gets through, with a real sshd."""

from __future__ import annotations

import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import PATIENCE_S, Person, at_terminal
from shown import output_of
from trioet.demo.cutter import Cutter
from trioet.doctor.stand_in import INVALID_KEY
from waiting import until

pytestmark = pytest.mark.e2e

DETOUR = b"cannot be reached from here: the session goes through ssh"


def forbid_forwarding(far_side: FarSide) -> None:
    """Have sshd say no to every channel but those of commands."""
    key = far_side.sshd.user_key_path.with_suffix(".pub").read_text()
    (far_side.sshd.directory / "authorized_keys").write_text(f"no-port-forwarding {key}")


def test_a_port_that_rejects_is_gone_around_by_ssh(far_side: FarSide, free_tcp_port: int) -> None:
    far_side.start_router()
    done = far_side.run("-p", str(free_tcp_port), "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert done.stderr.count(b"\n") == 1
    assert DETOUR in done.stderr
    assert b"`trioet doctor farside`" in done.stderr


def test_a_port_that_swallows_is_gone_around_by_ssh(far_side: FarSide) -> None:
    far_side.start_router()
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as listener:
        port = listener.getsockname()[1]
        done = far_side.run("-p", str(port), "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    assert DETOUR in done.stderr


def test_through_ssh_no_router_is_needed_either(far_side: FarSide) -> None:
    done = far_side.run("--via", "ssh", "--", "cat; exit 3", stdin=bytes(range(256)) * 4000)
    assert (done.returncode, done.stdout, done.stderr) == (3, bytes(range(256)) * 4000, b"")


def test_where_sshd_forbids_to_forward_a_program_does_it(far_side: FarSide) -> None:
    forbid_forwarding(far_side)
    done = far_side.run("--via", "ssh", "--", "cat; exit 3", stdin=bytes(range(256)) * 4000)
    assert (done.returncode, done.stdout, done.stderr) == (3, bytes(range(256)) * 4000, b"")


def children(person: Person) -> list[int]:
    """The ssh processes through which a session's bytes go."""
    listed = Path(f"/proc/{person.process.pid}/task/{person.process.pid}/children").read_text()
    found = []
    for pid in map(int, listed.split()):
        with suppress(OSError):
            if b"BatchMode=yes" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.parametrize("forwarding", [True, False])
async def test_ssh_is_killed_and_the_session_goes_on(far_side: FarSide, forwarding: bool) -> None:
    if not forwarding:
        forbid_forwarding(far_side)
    async with at_terminal(far_side.connect("--via", "ssh"), far_side.environment) as person:
        assert await person.run(b"mine=7; stty size") == b"24 80\r\n"
        (before,) = children(person)
        os.kill(before, signal.SIGKILL)
        assert await person.run(b"echo $mine") == b"7\r\n"
        await until(lambda: len(children(person)) == 1)
        assert children(person) != [before]
        assert not Path(f"/proc/{before}").is_dir()  # noqa: ASYNC240 - of the kernel
        await person.type(b"exit 5\n")
        assert await person.end() == 5


async def test_a_live_session_changes_its_way_and_comes_back_and_loses_nothing(
    far_side: FarSide, tmp_path: Path
) -> None:
    """Numbers flow, the port closes, they flow through ssh; the port opens, and ssh is gone."""
    enough = tmp_path / "enough"
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            await person.run(b"stty -echo")
            flow = f'until [ -e {enough} ]; do echo "<$((i++))>"; sleep 0.01; done'
            await person.type(f"i=0; {flow}\n".encode())
            shown = await person.until(b"<500>")
            cutter.refuse = True
            cutter.cut()
            shown += b"<500>" + await person.until(DETOUR)
            assert len(children(person)) == 1
            relayed = cutter.bytes_relayed
            cutter.refuse = False
            with trio.fail_after(60):
                while children(person):
                    shown += person.seen
                    person.seen = b""
                    await person.read_some()
            enough.touch()
            await person.type(b"echo DO''NE\n")
            shown += await person.until(b"DONE")
            assert cutter.bytes_relayed > relayed
            numbers = [int(number) for number in re.findall(rb"<([0-9]+)>", output_of(shown))]
            assert numbers == list(range(len(numbers)))
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()


@contextmanager
def second_router(far_side: FarSide) -> Iterator[int]:
    """Another `trioet serve` on the same machine; gives its port."""
    port = free_ports(1)[0]
    path = str(far_side.runtime_dir / "router-b.sock")
    command = [sys.executable, "-m", "trioet.cli.main", "serve", "--bind", "127.0.0.1"]
    arguments = ["--port", str(port), "--socket", path]
    with open(far_side.runtime_dir / "router-b.log", "wb") as log:
        router = subprocess.Popen([*command, *arguments], env=far_side.environment, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                break
        yield port
    finally:
        router.terminate()
        router.wait()


async def test_a_killed_router_is_replaced_by_another_of_its_machine(far_side: FarSide) -> None:
    """The client knows of both from the first login on, and is told of no loss."""
    first = far_side.start_router()
    with second_router(far_side) as second:
        async with trio.open_nursery() as nursery:
            cutters = [Cutter(first), Cutter(second)]
            near = [await nursery.start(cutter.serve) for cutter in cutters]
            command = far_side.connect("-p", f"{near[0]},{near[1]}", "--via", "direct")
            async with at_terminal(command, far_side.environment) as person:
                assert await person.run(b"mine=7; echo hi") == b"hi\r\n"
                assert cutters[1].bytes_relayed == 0
                far_side.stop_router(signal.SIGKILL)
                cutters[0].cut()
                assert await person.run(b"echo $mine") == b"7\r\n"
                assert cutters[1].bytes_relayed > 0
                await person.type(b"exit\n")
                assert await person.end() == 0
            nursery.cancel_scope.cancel()


def test_the_far_side_tells_all_its_ports(far_side: FarSide) -> None:
    """The first of its routers is gone, which the keeper has not to tell."""
    far_side.start_router()
    with second_router(far_side):
        assert far_side.run("--", "echo hi").stdout == b"hi\n"
        far_side.stop_router(signal.SIGKILL)
        done = far_side.run("--via", "direct", "--", "echo hi")
        assert (done.returncode, done.stdout) == (0, b"hi\n")


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a server that knows none of this host's sessions, and says so to everybody."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(INVALID_KEY)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_another_server_at_one_port_is_gone_around(far_side: FarSide, stranger: int) -> None:
    port = far_side.start_router()
    done = far_side.run("--via", "direct", "-p", f"{stranger},{port}", "--", "echo hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")


def test_another_server_at_the_only_port_is_gone_around_by_ssh(
    far_side: FarSide, stranger: int
) -> None:
    far_side.start_router()
    done = far_side.run("-p", str(stranger), "--", "echo hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    said = f"the server at farside (port {stranger}) does not know the session: it goes through ssh"
    assert said in done.stderr.decode()


def test_other_servers_everywhere_are_named(
    far_side: FarSide, stranger: int, free_tcp_port: int
) -> None:
    far_side.start_router()
    unknown = f"the server at farside (port {stranger}) does not know the session that was just"
    done = far_side.run("--via", "direct", "-p", str(stranger), "--", "true")
    assert done.returncode == 255
    assert unknown in done.stderr.decode()
    done = far_side.run("--via", "direct", "-p", f"{stranger},{free_tcp_port}", "--", "true")
    assert done.returncode == 255
    assert unknown in done.stderr.decode()
    assert "and no other is reached: connection refused" in done.stderr.decode()


def test_no_way_at_all_is_told_with_the_reason_of_each(
    far_side: FarSide, free_tcp_port: int
) -> None:
    far_side.start_router()
    forbid_forwarding(far_side)
    key = far_side.sshd.directory / "authorized_keys"
    refuse = far_side.sshd.put_program("no-stdio", NO_STDIO)
    key.write_text(key.read_text().replace("no-port", f'command="{refuse}",no-port'))
    done = far_side.run("-p", str(free_tcp_port), "--", "true")
    assert done.returncode == 255
    text = done.stderr.decode()
    assert f"port {free_tcp_port}: connection refused; ssh: sshd forbids to forward" in text
    assert "`trioet doctor farside`" in text


NO_STDIO = """\
case "$SSH_ORIGINAL_COMMAND" in
*" stdio "*) exit 127;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND\""""


async def test_a_session_that_ssh_cannot_save_without_a_question_says_so(
    far_side: FarSide,
) -> None:
    async with at_terminal(far_side.connect("--via", "ssh"), far_side.environment) as person:
        await person.run(b"true")
        (far_side.sshd.directory / "authorized_keys").unlink()
        (child,) = children(person)
        os.kill(child, signal.SIGKILL)
        await person.until(b"; Enter ~L lets ssh ask you to log in")
        await person.type(b"\r~.")
        assert await person.end() == 255


@pytest.mark.parametrize("forwarding", [True, False])
async def test_without_an_ssh_program_the_session_goes_through_asyncssh(
    far_side: FarSide, forwarding: bool
) -> None:
    if not forwarding:
        forbid_forwarding(far_side)
    command = far_side.connect("--via", "ssh", "--ssh-backend", "asyncssh")
    async with at_terminal(command, far_side.environment) as person:
        assert await person.run(b"mine=7; stty size") == b"24 80\r\n"
        assert await person.run(b"echo $mine; seq 100000 | tail -1") == b"7\r\n100000\r\n"
        assert not children(person)
        await person.type(b"exit 5\n")
        assert await person.end() == 5


async def test_ssh_may_ask_when_the_user_lets_it(far_side: FarSide) -> None:
    """The key has a passphrase: known to nobody but the user, who logs in again by ~L."""
    key = str(far_side.sshd.user_key_path)
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key]
    await trio.run_process(change)
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("-p", str(near), "--", "echo READY; exec sh -i")
        async with at_terminal(command, far_side.environment) as person:
            await person.until(b"user_key': ")
            await person.type(b"secret\n")
            await person.until(b"READY")
            await person.run(b"mine=7; stty -echo")
            raw = person.mode()
            cutter.refuse = True
            cutter.cut()
            await person.until(b"; Enter ~L lets ssh ask you to log in")
            await person.type(b"\r~L")
            await person.until(b"user_key': ")
            await person.type(b"secret\n")
            await person.until(b"trioet: logged in\r\n")
            assert person.mode() == raw
            assert await person.run(b"echo $mine") == b"7\r\n"
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()


async def test_a_login_that_fails_leaves_the_session_as_it_was(far_side: FarSide) -> None:
    far_side.start_router()
    async with at_terminal(far_side.connect(), far_side.environment) as person:
        await person.run(b"mine=7; stty -echo")
        raw = person.mode()
        (far_side.sshd.directory / "authorized_keys").unlink()
        await person.type(b"\r~L")
        await person.until(b"trioet: ssh was not let in (publickey)\r\n")
        assert person.mode() == raw
        assert await person.run(b"echo $mine") == b"7\r\n"
        await person.type(b"exit\n")
        assert await person.end() == 0


async def test_ctrl_c_gives_up_a_login_and_nothing_else(far_side: FarSide) -> None:
    """Be it that ssh asks, or that nobody answers it."""
    key = str(far_side.sshd.user_key_path)
    far_side.start_router()
    async with at_terminal(far_side.connect(), far_side.environment) as person:
        await person.run(b"mine=7; stty -echo")
        raw = person.mode()
        await trio.run_process(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key])
        await person.type(b"\r~L")
        await person.until(b"user_key': ")
        await person.type(b"\x1a\x1c\x03")
        await person.until(b"trioet: ")
        await until(lambda: person.mode() == raw)
        assert await person.run(b"echo $mine") == b"7\r\n"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            config = far_side.sshd.ssh_config_path
            port = silent.getsockname()[1]
            config.write_text(f"Port {port}\n{config.read_text()}")
            await person.type(b"\r~L")
            with trio.fail_after(PATIENCE_S):
                await trio.lowlevel.wait_readable(silent)
            await person.type(b"\x03")
            await person.until(b"trioet: ")
            await until(lambda: person.mode() == raw)
            assert await person.run(b"echo $mine") == b"7\r\n"
            trio.lowlevel.notify_closing(silent)
        await person.type(b"exit\n")
        assert await person.end() == 0


async def test_ssh_asks_once_more_when_there_is_no_other_way_to_begin(
    far_side: FarSide, free_tcp_port: int
) -> None:
    key = str(far_side.sshd.user_key_path)
    await trio.run_process(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key])
    far_side.start_router()
    command = far_side.connect("-p", str(free_tcp_port), "--", "echo READY; exec sh -i")
    async with at_terminal(command, far_side.environment) as person:
        await person.until(b"user_key': ")
        await person.type(b"secret\n")
        await person.until(b"trioet: ssh logs in to farside")
        await person.until(b"user_key': ")
        await person.type(b"secret\n")
        await person.until(b"READY")
        await person.type(b"exit 3\n")
        assert await person.end() == 3
