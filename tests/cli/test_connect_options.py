from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.spawn import SshTarget
from trioet.cli.connect_options import (
    ConnectOptions,
    SshBackend,
    build_parser,
    parse,
    parse_escape,
)
from trioet.errors import UsageError


def test_a_host_is_enough() -> None:
    assert parse(["box"]) == ConnectOptions("box")


def test_every_flag_has_its_place() -> None:
    argv = (
        "-k 2.5 -x -p 2023 --terminal-path ~/trioet --serverfifo /run/f -l me -F conf "
        "-i k1 -ik2 -o A=1,2 --ssh-option B=3 -vv --ssh-backend asyncssh --escape ^] box"
    )

    assert parse(argv.split()) == ConnectOptions(
        host="box",
        user="me",
        port=2023,
        keepalive_s=2.5,
        kill_other_sessions=True,
        terminal_path="~/trioet",
        server_fifo="/run/f",
        config_file="conf",
        identity_files=("k1", "k2"),
        ssh_options=("A=1,2", "B=3"),
        verbose=2,
        ssh_backend=SshBackend.ASYNCSSH,
        escape="^]",
    )


def test_the_long_names_are_those_of_et() -> None:
    argv = "--username me --port 1 --keepalive 1 --kill-other-sessions --no-terminal --macserver"

    assert parse([*argv.split(), "box"]) == ConnectOptions(
        host="box",
        user="me",
        port=1,
        keepalive_s=1,
        kill_other_sessions=True,
        has_terminal=False,
        terminal_path="/usr/local/bin/etterminal",
    )


@pytest.mark.parametrize("option", ["-u", "-l", "--username"])
def test_the_user_can_be_named_as_et_and_as_ssh_do(option: str) -> None:
    assert parse([option, "me", "box"]).user == "me"
    assert parse([option, "me", "me@box"]).user == "me"


def test_several_ports_may_be_named_in_either_place() -> None:
    named = parse(["box:1,2"])
    assert (named.port, named.more_ports) == (1, (2,))
    assert parse(["box", "-p", "1,2"]) == named == parse(["box:1,2", "-p", "1,2"])


def test_user_and_port_may_stand_with_the_host() -> None:
    options = parse(["me@[fe80::1%eth0]:99"])

    assert (options.user, options.host, options.port) == ("me", "fe80::1%eth0", 99)


def test_servers_are_looked_up_only_when_asked() -> None:
    assert not parse(["box"]).srv
    assert parse(["--srv", "--via", "direct", "box"]).srv


def test_a_command_is_what_follows_two_dashes() -> None:
    assert parse(["box", "--", "ls", "-l", "--", "a b"]).command == "ls -l -- a b"
    assert parse(["box", "--"]).command is None


def test_a_command_can_be_given_as_et_does() -> None:
    assert parse(["box", "-c", "ls -l"]) == ConnectOptions("box", command="ls -l")
    assert parse(["-e", "--command", "ls", "box"]).stays


def test_options_may_follow_the_host() -> None:
    assert parse(["box", "-N", "-p", "7"]) == ConnectOptions("box", port=7, has_terminal=False)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ([], "required: .*host"),
        (["box", "-c", "ls", "--", "ls"], "command is given twice"),
        (["box", "-c", " "], "command is empty"),
        (["box", "-N", "-c", "ls"], "-N/--no-terminal runs no command"),
        (["box", "-N", "--", "ls"], "-N/--no-terminal runs no command"),
        (["box", "-e"], "-e/--noexit needs a command"),
        (["box", "ls"], "write `--` before a command: box -- ls"),
        (["box", "--jumphots", "x"], "no such option: --jumphots"),
        (["box", "--usern", "x"], "no such option: --usern"),
        (["box", "-p", "1", "-p", "1"], "-p/--port is given twice"),
        (["box", "-u", "a", "-l", "b"], "-u/--username/-l is given twice"),
        (["a@box", "-u", "b"], "two users: a in the host, b by -u/-l"),
        (["box:1", "-p", "2"], "two ports: 1 in the host, 2 by -p"),
        (["box:1,2", "-p", "2"], "two ports: 1,2 in the host, 2 by -p"),
        (["box", "-p", "1,2,1"], "-p/--port: port '1,2,1', column 5: port 1 is named twice"),
        (["box", "--via", "mail"], "--via: 'mail': there are auto, direct and ssh"),
        (["box", "--srv", "--via", "ssh"], "--srv finds ports .*; --via ssh needs none"),
        (["box", "--srv", "--jump", "a"], "--srv finds ports .*; --jump goes through other"),
        (["box", "--srv", "--jump", "auto"], "--srv finds ports .*; --jump goes through other"),
        (["box", "-F", "a", "-F", "b"], "-F is given twice"),
        (["box", "--macserver", "--terminal-path", "/x"], "both say where"),
        (["box", "-p", "0"], "-p/--port: port '0', column 1: `0` is no port"),
        (["box", "-p", "ssh"], "`ssh` is no port"),
        (["box", "-k", "0"], "-k/--keepalive: '0': from 1 to 180 seconds"),
        (["box", "-k", "181"], "from 1 to 180 seconds"),
        (["box", "-k", "nan"], "from 1 to 180 seconds"),
        (["box", "-k", "soon"], "from 1 to 180 seconds"),
        (["box", "--escape", "ab"], "escape character 'ab'"),
        (["box", "--ssh-backend", "putty"], "'putty': there are openssh and asyncssh"),
        (["box", "--terminal-path", "a'b"], "--terminal-path .* cannot be passed"),
        (["box", "--serverfifo", "a\nb"], "--serverfifo .* cannot be passed"),
        (["box:x"], "column 5: `x` is no port"),
        (["-oProxyCommand=x"], "required"),
        (["--", "-oProxyCommand=x"], "required"),
        (["box", "-p"], "-p/--port: expected one argument"),
    ],
)
def test_a_mistake_is_told(argv: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse(argv)


@given(st.lists(st.one_of(st.text(), st.sampled_from(["--", "-p", "-c", "-N", "box", "-vv"]))))
def test_any_words_are_options_or_a_mistake(argv: list[str]) -> None:
    try:
        parse([word for word in argv if word not in ("-h", "--help")])
    except UsageError:
        pass
    except SystemExit:
        assert any(word.startswith("-") and "h" in word for word in argv)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("~", b"~"), ("none", None), ("^]", b"\x1d"), ("^a", b"\x01"), ("^A", b"\x01"), ("n", b"n")],
)
def test_an_escape_character_is_written_as_for_ssh(text: str, meaning: bytes | None) -> None:
    assert parse_escape(text) == meaning


@pytest.mark.parametrize("text", ["", "ab", "^1", "^{", "é", "^ß"])
def test_what_is_no_escape_character_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        parse_escape(text)


def test_ssh_is_called_as_the_user_said() -> None:
    options = parse(["me@box", "-F", "f", "-i", "k", "-o", "A=1", "-v"])

    assert options.ssh_target == SshTarget("box", "me", "f", ("k",), ("A=1",), 1)
    assert "exec trioet terminal --term=xterm-256color;" in options.remote_command


def test_the_far_command_carries_what_the_far_side_must_know() -> None:
    options = parse(["box", "-x", "--serverfifo", "/f"])._replace(term="screen")

    expected = 'terminal --term=screen --kill-other-sessions --serverfifo="/f"'
    assert expected in options.remote_command


def test_help_names_every_option_and_explains_it() -> None:
    text = build_parser().format_help()

    for action in build_parser()._actions:
        assert action.help, action.option_strings
        for name in action.option_strings:
            assert name in text
    assert "[user@]host[:port[,port]] [-- COMMAND...]" in text


def test_reading_the_command_line_imports_nothing_slow() -> None:
    script = """
import sys
from trioet.cli.connect_options import parse
parse(["me@box:22", "-v", "--", "ls"])
slow = {"trio", "nacl", "google", "asyncssh", "asyncio", "ssl", "ipaddress", "socket"}
sys.exit(" ".join(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)

    assert done.stderr.strip() == ""
