"""What a program finds when it starts: checked by asking real programs."""

from __future__ import annotations

import os
import pwd

import pytest
import trio

from descriptors import descriptors
from trioet.errors import LocalError
from trioet.session.program import (
    Program,
    login_shell,
    shell_command,
    spawn_on_pipes,
    spawn_on_pty,
    user_environment,
)
from trioet.session.shell import CHUNK, Shell
from trioet.wire.messages import WindowSize

ENVIRONMENT = {b"PATH": b"/usr/bin:/bin", b"TERM": b"dumb"}
SIZE = WindowSize(33, 111, 5, 7)


def sh(script: str) -> Program:
    return Program("/bin/sh", ("sh", "-c", script), ENVIRONMENT)


async def output_of(shell: Shell) -> bytes:
    output = b""
    while part := await shell.read_output():
        output += part
    return output


async def said_on_pty(script: str) -> list[str]:
    shell = Shell(spawn_on_pty(sh(script), SIZE))
    try:
        output = await output_of(shell)
        assert await shell.wait() == 0
    finally:
        await shell.aclose()
    return output.decode().split("\r\n")[:-1]


async def test_it_leads_a_session_on_a_terminal_of_the_right_size() -> None:
    script = (
        'stty size; test "$(ps -o sid= -p $$ | tr -d " ")" = $$ && echo leads; tty; : </dev/tty'
    )
    size, leads, tty = await said_on_pty(script)
    assert (size, leads) == ("33 111", "leads")
    assert tty.startswith("/dev/pts/")


async def test_signals_have_their_defaults() -> None:
    ignored, blocked = await said_on_pty("grep -E '^Sig(Ign|Blk)' /proc/self/status | sort -r")
    # Above 31 are glibc's own, which it sets for itself in each program.
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0
    assert int(blocked.split()[1], 16) == 0


async def test_a_broken_pipe_ends_a_program_quietly() -> None:
    assert await said_on_pty("yes | head -1") == ["y"]


async def test_input_is_utf8() -> None:
    (mode,) = await said_on_pty("stty -a | grep -o -- '-*iutf8'")
    assert mode == "iutf8"


async def test_none_of_our_descriptors_reaches_it() -> None:
    lines = await said_on_pty("ls -l /proc/$$/fd")
    targets = "".join(line.partition("->")[2] for line in lines)
    assert "/dev/pts/" in targets
    for ours in ("ptmx", "socket:", "eventpoll", "pidfd"):
        assert ours not in targets


async def test_pipes_keep_stderr_apart_and_every_byte() -> None:
    shell = Shell(spawn_on_pipes(sh("printf 'a\\r\\n\\000'; echo oops >&2; cat; exit 9")))
    assert shell.write_nowait(b"\x04\x03in") == 4
    shell.end_input()
    assert await output_of(shell) == b"a\r\n\0\x04\x03in"
    assert await shell.read_stderr() == b"oops\n"
    assert await shell.wait() == 9
    await shell.aclose()


async def test_a_signal_is_told_from_a_status() -> None:
    shell = Shell(spawn_on_pipes(sh("kill -TERM $$")))
    assert await shell.wait() == -15
    await shell.aclose()


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalError, match="cannot start /no/such/shell: No such file"):
        spawn_on_pty(Program("/no/such/shell", ("x",), {}), SIZE)
    with pytest.raises(LocalError, match="cannot start /no/such/shell"):
        spawn_on_pipes(Program("/no/such/shell", ("x",), {}))


async def test_nothing_is_left_open_by_failures() -> None:
    before = descriptors()
    for spawn in (lambda p: spawn_on_pty(p, SIZE), spawn_on_pipes):
        with pytest.raises(LocalError):
            spawn(Program("/no/such/shell", ("x",), {}))
    assert descriptors() == before


async def test_output_is_read_in_bounded_pieces_until_dry() -> None:
    shell = Shell(spawn_on_pty(sh("stty -onlcr; head -c 300000 /dev/zero | tr '\\0' x"), SIZE))
    pieces = []
    while piece := await shell.read_output():
        pieces.append(len(piece))
    await shell.aclose()
    assert sum(pieces) == 300000
    assert max(pieces) <= CHUNK


async def test_closing_hangs_up_what_still_runs() -> None:
    shell = Shell(
        spawn_on_pty(sh("trap 'exit 3' HUP; echo ready; while :; do sleep 1; done"), SIZE)
    )
    await shell.read_output()
    with trio.fail_after(5):
        await shell.aclose()
        assert await shell.wait() in (3, -1)


async def test_a_resize_reaches_the_program() -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"
    shell = Shell(spawn_on_pty(sh(script), SIZE))
    assert b"ready" in await shell.read_output()
    shell.resize(WindowSize(50, 132))
    assert b"50 132" in await output_of(shell)
    await shell.aclose()


def test_a_login_shell_has_a_dash_and_a_command_goes_to_the_users_shell() -> None:
    shell = pwd.getpwuid(os.getuid()).pw_shell
    name = os.path.basename(shell)
    assert (login_shell({}).executable, login_shell({}).argv) == (shell, (f"-{name}",))
    assert shell_command(b"x y", {}).argv == (name, "-c", b"x y")


def test_the_environment_is_ssh_s_with_the_clients_and_ours_on_top() -> None:
    made = user_environment(
        {b"LANG": b"C", b"SSH_CONNECTION": b"x"},
        {b"LANG": b"de", b"": b"x", b"A=B": b"x", b"NUL": b"a\0b"},
        {b"TERM": b"dumb"},
    )
    user = pwd.getpwuid(os.getuid())
    assert made == {
        b"LANG": b"de",
        b"SSH_CONNECTION": b"x",
        b"TERM": b"dumb",
        b"HOME": user.pw_dir.encode(),
        b"SHELL": user.pw_shell.encode(),
        b"USER": user.pw_name.encode(),
        b"LOGNAME": user.pw_name.encode(),
    }
