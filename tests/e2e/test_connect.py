"""Whole sessions, through a real sshd, as a user has them."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from farside import FarSide
from invitations import tell_on, told_in
from keepers import keepers_in
from ptys import at_terminal
from shown import numbers_of
from trioet.demo.cutter import Cutter
from waiting import until

pytestmark = pytest.mark.e2e

CUTS = 20


async def test_a_shell_without_any_server_on_the_far_side(far_side: FarSide) -> None:
    async with at_terminal(far_side.connect(), far_side.environment, 33, 111) as person:
        before = person.mode()
        assert await person.run(b"stty size; echo $TERM; test -t 0 && echo tty") == (
            b"33 111\r\nxterm\r\ntty\r\n"
        )
        person.resize(50, 132)
        await person.run(b"sleep 0.1")
        assert await person.run(b"stty size") == b"50 132\r\n"
        await person.type(b"exit 7\n")
        await person.until(b"[trioet: session ended]")
        assert await person.end() == 7
        assert person.mode() == before


def test_a_keeper_without_a_server_listens_where_it_is_told(
    far_side: FarSide, free_tcp_port: int
) -> None:
    assert far_side.run("-p", str(free_tcp_port), "--", "echo hi").stdout == b"hi\n"


def test_a_command_has_its_own_status_output_and_errors(far_side: FarSide) -> None:
    done = far_side.run("--", "cat; echo oops >&2; exit 42", stdin=bytes(range(256)) * 4000)
    assert (done.returncode, done.stdout) == (42, bytes(range(256)) * 4000)
    assert done.stderr == b"oops\n"


def test_a_script_on_stdin_is_run_by_the_login_shell(far_side: FarSide) -> None:
    done = far_side.run(stdin=b"echo hi; exit 3\n")
    assert (done.returncode, done.stdout) == (3, b"hi\n")


def test_nothing_on_stdin_ends_the_shell(far_side: FarSide) -> None:
    assert far_side.run().returncode == 0


async def test_twenty_cuts_lose_nothing(far_side: FarSide) -> None:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("--via", "direct", "-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            await person.run(b"stty -echo")
            await person.type(b"seq 300000; echo DO''NE\n")
            shown = b""
            while b"DONE" not in shown:
                shown += await person.read_some()
                if cutter.cuts < CUTS and len(shown) > 50_000 * (cutter.cuts + 1):
                    cutter.cut()
            assert numbers_of(shown) == list(range(1, 300001))
            assert cutter.cuts == CUTS
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_session_does_not_notice_that_the_router_is_gone(
    far_side: FarSide, how: signal.Signals
) -> None:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("--via", "direct", "-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            await person.run(b"true")
            far_side.stop_router(how)
            assert await person.run(b"echo still here") == b"still here\r\n"
            cutter.cut()
            await person.type(b"echo typed while it was away\n")
            far_side.start_router(port)
            await person.until(b"\rtyped while it was away\r\n")
            await person.type(b"exit\n")
            assert await person.end() == 0
        nursery.cancel_scope.cancel()


async def test_offline_the_user_is_told_and_can_leave(far_side: FarSide) -> None:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("--via", "direct", "-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            before = person.mode()
            await person.run(b"true")
            far_side.stop_router()
            cutter.cut()
            await person.until(b"trioet: no reply from farside for ")
            await person.type(b"\r~.")
            await person.until(b"disconnected from farside")
            assert await person.end() == 255
            assert person.mode()[3] == before[3]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("arguments", [["-N"], ["--", "echo begun; cat >&2"]])
async def test_offline_who_has_no_screen_is_told_as_well(
    far_side: FarSide, arguments: list[str]
) -> None:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        client = far_side.connect("--via", "direct", "-p", str(near), *arguments)
        piped = ["sh", "-c", f"{shlex.join(client)} | cat"]
        async with at_terminal(piped, far_side.environment) as person:
            await person.until(b"connected to" if arguments == ["-N"] else b"begun")
            far_side.stop_router()
            cutter.cut()
            await person.until(b"trioet: no reply from farside for 1 s")
            await person.until(b"nothing is lost\r\n")
            far_side.start_router(port)
            await person.until(b"trioet: farside answers again\r\n")
            if arguments != ["-N"]:
                await person.type(b"typed\n")
                await person.until(b"typed\r\ntyped\r\n")
        nursery.cancel_scope.cancel()


async def test_leaving_ends_the_session_there_too(far_side: FarSide) -> None:
    async with at_terminal(far_side.connect(), far_side.environment) as person:
        await person.run(b"true")
        await person.type(b"\r~.")
        assert await person.end() == 255
    await until(lambda: " over" in far_side.keeper_log())


async def test_a_command_on_pipes_leaves_the_terminal_its_lines_and_signals(
    far_side: FarSide,
) -> None:
    """As ssh does: there is no terminal on the far side that could make a signal of Ctrl-C."""
    client = shlex.join(far_side.connect("--", "echo $$; read line; echo $line; sleep 1000"))
    async with at_terminal(["sh", "-c", f"{client} | cat"], far_side.environment) as person:
        before = person.mode()
        program = int((await person.until(b"\n")).split()[0])
        assert person.mode() == before
        await person.type(b"~.\n")
        await person.until(b"~.\r\n~.\r\n")
        await person.type(b"\x03")
        await person.end()
    await until(lambda: not Path(f"/proc/{program}").exists())


async def test_who_is_not_read_any_more_leaves_and_ends_the_program(far_side: FarSide) -> None:
    """As `trioet connect host 'while …' | head -1`."""
    client = await trio.lowlevel.open_process(
        far_side.connect("--", "echo $$; while sleep 0.01; do echo more; done"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=far_side.environment,
    )
    assert client.stdout is not None
    assert client.stderr is not None
    with trio.fail_after(60):
        program = int(bytes(await client.stdout.receive_some()).split()[0])
        await client.stdout.aclose()
        assert await client.wait() == 255
        said = b"".join([bytes(part) async for part in client.stderr])
    assert said == b"trioet: nobody reads the output any more\n"
    await until(lambda: not Path(f"/proc/{program}").exists())


async def test_escapes_are_told_and_sent(far_side: FarSide) -> None:
    async with at_terminal(far_side.connect(), far_side.environment) as person:
        await person.run(b"true")
        await person.type(b"\r~?")
        await person.until(b"Escapes, typed right after Enter")
        await person.type(b"\recho ''~~.; exit\r")
        await person.until(b"~~.")
        assert await person.end() == 0


async def test_what_the_far_side_left_on_is_switched_off(far_side: FarSide) -> None:
    command = far_side.connect("--", "printf '\\033[?1049h\\033[?1000h\\033[?25l'")
    async with at_terminal(command, far_side.environment) as person:
        await person.end()
        for left_on in (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?25h"):
            assert left_on in person.seen


async def test_a_keeper_serves_many_sessions_and_other_ones_can_be_ended(
    far_side: FarSide,
) -> None:
    async with (
        at_terminal(far_side.connect(), far_side.environment) as first,
        at_terminal(far_side.connect(), far_side.environment) as second,
    ):
        await first.run(b"true")
        await second.run(b"true")
        assert len(keepers_in(far_side.runtime_dir)) == 1

        done = await trio.to_thread.run_sync(lambda: far_side.run("-x", "--", "echo alone"))
        assert done.stdout == b"alone\n"
        for person in (first, second):
            await person.until(b"trioet: ended by --kill-other-sessions of another login")
            assert await person.end() == 255


def test_the_passkey_is_in_no_argument_environment_or_file(
    far_side: FarSide, tmp_path: Path
) -> None:
    """Of a shell that looks at its parents, and at everything in the runtime directory."""
    copy = tmp_path / "invitation"
    tell_on(far_side, copy)
    script = (
        f"cat /proc/[0-9]*/cmdline /proc/self/environ {far_side.runtime_dir}/* 2>/dev/null"
        " | tr '\\0' '\\n'"
    )
    done = far_side.run("--", script)
    assert b"keeper" in done.stdout
    for secret in told_in(copy):
        assert secret not in done.stdout


# What goes wrong, and what is said


def complaint(far_side: FarSide, *arguments: str) -> str:
    done = far_side.run(*arguments)
    assert done.returncode == 255
    return done.stderr.decode()


def test_nothing_to_answer_us_there(far_side: FarSide) -> None:
    text = complaint(far_side, "--terminal-path", "/no/such/trioet")
    assert "neither trioet nor etterminal was found on farside" in text
    assert "trioet install" in text


def test_ssh_cannot_get_there(far_side: FarSide, free_tcp_port: int) -> None:
    text = complaint(far_side, "-o", f"Port={free_tcp_port}")
    assert "ssh" in text
    assert "Connection refused" in text


def test_the_port_cannot_be_reached(far_side: FarSide, free_tcp_port: int) -> None:
    far_side.start_router()
    text = complaint(far_side, "--via", "direct", "-p", str(free_tcp_port))
    assert f"127.0.0.1 port {free_tcp_port} cannot be reached from here: connection refused" in text


def test_another_server_listens_there(far_side: FarSide, runtime_dir: Path) -> None:
    own = far_side.start_router()
    elsewhere = FarSide(far_side.sshd, runtime_dir / "other")
    (runtime_dir / "other").mkdir(mode=0o700)
    stranger = elsewhere.start_router()
    try:
        assert own != stranger
        text = complaint(far_side, "--via", "direct", "-p", str(own))
    finally:
        elsewhere.close()
    assert "does not know the session" in text or "cannot be reached" in text


def test_a_router_that_is_not_there_is_named(far_side: FarSide) -> None:
    text = complaint(far_side, "--serverfifo", "/no/such/socket")
    assert "no trioet server listens at /no/such/socket" in text


@pytest.mark.parametrize("noise", ["echo welcome", "seq 30000", "printf 'no newline: IDPASSKEY:'"])
def test_noise_from_start_up_files_is_tolerated(far_side: FarSide, noise: str) -> None:
    far_side.sshd.use_login_shell(f'{noise}; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    assert far_side.run("--", "echo hi").stdout == b"hi\n"
