from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.remote_command import jump_command, remote_command
from trioet.errors import UsageError

SHELLS = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"]


class FarSide:
    """A home and a PATH with nothing on it but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.home = directory / "home"
        self.bin.mkdir()
        self.home.mkdir()
        for tool in ("sh", "id"):
            program = shutil.which(tool)
            assert program is not None
            (self.bin / tool).symlink_to(program)
        self.put(self.bin / "pkill", 'echo pkill "$@"')
        self.put(self.bin / "sleep", "")

    def put(self, path: Path, script: str = 'echo "${0##*/}" "$@"') -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, command: str, shell: str = "sh") -> tuple[int, str]:
        program = shutil.which(shell)
        if program is None:
            pytest.skip(f"{shell} is not installed")
        environment = {"PATH": str(self.bin), "HOME": str(self.home)}
        arguments = [program, "-c", command]
        done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout


@pytest.fixture
def far_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    # What is installed on the machine that runs the tests must not be found.
    monkeypatch.setattr("trioet.bootstrap.remote_command.EXTRA_PATH", "$HOME/.local/bin")
    return FarSide(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_trioet_is_preferred(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "trioet")
    far_side.put(far_side.bin / "etterminal")

    assert far_side.run(remote_command(), shell) == (0, "trioet terminal\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_etterminal_serves_as_well(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "etterminal")

    assert far_side.run(remote_command(), shell) == (0, "etterminal --verbose=0\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_if_neither_is_there_the_command_says_so(far_side: FarSide, shell: str) -> None:
    assert far_side.run(remote_command(), shell) == (127, "TRIOET-MISSING\n")


def test_what_pip_installs_for_a_user_is_found_though_it_is_not_on_the_path(
    far_side: FarSide,
) -> None:
    far_side.put(far_side.home / ".local/bin/trioet")

    assert far_side.run(remote_command()) == (0, "trioet terminal\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_path_may_hold_spaces_and_begin_in_the_far_home(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.home / "my tools/trioet", 'printf "%s|" "$@"')
    command = remote_command(terminal_path="~/my tools/trioet", server_fifo="$HOME/a fifo;é")

    expected = f"terminal|--serverfifo={far_side.home}/a fifo;é|"
    assert far_side.run(command, shell) == (0, expected)


def test_a_program_named_otherwise_is_taken_for_an_etterminal(far_side: FarSide) -> None:
    far_side.put(far_side.bin / "trioet")
    far_side.put(far_side.home / "et")

    command = remote_command(terminal_path=f"{far_side.home}/et", server_fifo="/x")

    assert far_side.run(command) == (0, "et --verbose=0 --serverfifo=/x\n")


def test_a_given_path_is_run_or_nothing_is(far_side: FarSide) -> None:
    far_side.put(far_side.bin / "trioet")

    command = remote_command(terminal_path="/nowhere/trioet")

    assert far_side.run(command) == (127, "TRIOET-MISSING\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_trioet_is_told_the_terminal_and_etterminal_is_not(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "etterminal")
    command = remote_command(term="vt'100; $(reboot)")
    assert far_side.run(command, shell) == (0, "etterminal --verbose=0\n")

    far_side.put(far_side.bin / "trioet")
    assert far_side.run(command, shell) == (0, "trioet terminal --term=vt100reboot\n")


def test_other_sessions_are_ended_by_trioet_itself(far_side: FarSide) -> None:
    far_side.put(far_side.bin / "trioet")

    command = remote_command(kill_other_sessions=True)

    assert far_side.run(command) == (0, "trioet terminal --kill-other-sessions\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_other_sessions_of_et_are_ended_as_et_does(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "etterminal")
    user = subprocess.run(["id", "-un"], check=True, stdout=subprocess.PIPE, text=True).stdout

    status, output = far_side.run(remote_command(kill_other_sessions=True), shell)

    assert status == 0
    assert output == f"pkill -u {user.strip()} etterminal\netterminal --verbose=0\n"


@pytest.mark.parametrize("char", ["'", '"', "!", "\\", "$", "`", "\n", "\x1b"])
def test_a_path_that_some_shell_would_read_otherwise_is_refused(char: str) -> None:
    with pytest.raises(UsageError, match=r"--terminal-path .*, column 3: .* cannot be passed"):
        remote_command(terminal_path=f"/a{char}b")
    with pytest.raises(UsageError, match="--serverfifo"):
        remote_command(server_fifo=char)


@given(st.text())
def test_no_path_breaks_out_of_the_quotes(path: str) -> None:
    try:
        command = remote_command(terminal_path=path, server_fifo=path)
    except UsageError:
        return
    assert command.count("'") == 2
    assert not set(command) & set("\\!\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_jumphost_is_told_where_to_and_no_key(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "etterminal")

    command = jump_command("2001:db8::1", 2022, server_fifo="/run/a b")

    assert far_side.run(command, shell) == (
        0,
        "etterminal --verbose=0 --jump --dsthost=2001:db8::1 --dstport=2022 "
        "--serverfifo=/run/a b\n",
    )


def test_a_jumphost_s_terminal_may_be_trioet_s_by_name(far_side: FarSide) -> None:
    program = far_side.bin / "trioet"
    far_side.put(program)

    command = jump_command("far", 2022, terminal_path=str(program), kill_other_sessions=True)

    status, output = far_side.run(command)
    assert status == 0
    assert output.endswith("trioet terminal --verbose=0 --jump --dsthost=far --dstport=2022\n")


@given(st.text())
def test_no_host_breaks_out_of_the_quotes(host: str) -> None:
    try:
        command = jump_command(host, 2022)
    except UsageError:
        return
    assert command.count("'") == 2
    assert not set(command) & set("\\!\n")
