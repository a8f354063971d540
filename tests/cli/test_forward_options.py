from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trioet.cli.connect_options import ConnectOptions, parse
from trioet.errors import UsageError
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, Side


def test_tunnels_of_all_kinds_stay_in_the_order_given() -> None:
    argv = (
        "-t 1:2,3-4:5-6 -L 7:h:8 -r 9:/x --tunnel=10:11 -R 12 box -D 13 -L14:h:15/udp "
        "--reversetunnel A:/x -R 16:h:17 -r18:19"
    )

    options = parse(argv.split())

    assert options.host == "box"
    assert [str(forward) for forward in options.forwards] == [
        "-t 1:2",
        "-t 3-4:5-6 (3:5)",
        "-t 3-4:5-6 (4:6)",
        "-L 7:h:8",
        "-r 9:/x",
        "-t 10:11",
        "-R 12",
        "-D 13",
        "-L 14:h:15/udp",
        "-r A:/x",
        "-R 16:h:17",
        "-r 18:19",
    ]
    assert [forward.side for forward in options.forwards if str(forward)[1] in "rR"] == (
        5 * [Side.REMOTE]
    )
    assert [forward.datagrams for forward in options.forwards].index(True) == 8


def test_no_tunnels_are_none() -> None:
    options = parse(["box"])

    assert options.forwards == ()
    assert (options.gateway_ports, options.forward_agent, options.agent_socket) == (
        (False, None, None)
    )


def test_one_command_line_leaves_nothing_to_the_next() -> None:
    parse(["box", "-L", "1:h:2"])

    assert parse(["box"]) == ConnectOptions("box")


@pytest.mark.parametrize("argv", ["-g -L 1:h:2 -D 3 box", "-L 1:h:2 -D 3 box -g"])
def test_gateway_ports_hold_for_tunnels_before_and_after(argv: str) -> None:
    options = parse(argv.split())

    assert options.gateway_ports
    assert [forward.listen for forward in options.forwards] == [
        Address(ANYWHERE, 1),
        Address(ANYWHERE, 3),
    ]
    assert options.ssh_target.gateway_ports


def test_gateway_ports_are_not_for_the_rest() -> None:
    options = parse(["box", "-g", "-L", "localhost:1:h:2", "-R1:h:2", "-t", "1:2", "-r", "1:2"])

    assert {forward.listen for forward in options.forwards} == {Address(LOOPBACK, 1)}


@pytest.mark.parametrize("option", ["-A", "-f", "--forward-ssh-agent"])
def test_the_agent_is_forwarded_as_et_and_as_ssh_do(option: str) -> None:
    assert parse([option, "box"]).forward_agent is True
    assert parse([option, "-a", "box"]).forward_agent is False
    assert parse(["-a", option, "box"]).forward_agent is True


def test_another_agent_can_be_named() -> None:
    assert parse(["--ssh-socket", "/run/agent", "box"]).agent_socket == "/run/agent"
    with pytest.raises(UsageError, match="--ssh-socket is given twice"):
        parse(["box", "--ssh-socket", "/a", "--ssh-socket", "/b"])


def test_tunnels_need_neither_terminal_nor_command() -> None:
    options = parse(["box", "-N", "-L", "1:h:2"])

    assert not options.has_terminal
    assert len(options.forwards) == 1
    with pytest.raises(UsageError, match="-N/--no-terminal runs no command"):
        parse(["box", "-N", "-L", "1:h:2", "--", "ls"])


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["box", "-L", "80x80:host:80"], r'^-L 80x80:host:80: "80x80" is no port; .*column 1\)'),
        (["box", "-L", "1:h:2", "-R", "1:h:x"], r'^-R 1:h:x: "x" is no port; .*column 5\)'),
        (["box", "-D", "1:2:3"], r"^-D 1:2:3: .*column 5\)"),
        (["box", "--tunnel", "1:2,3"], r"^-t 1:2,3: .*column 6\)"),
        (["box", "--reversetunnel=1:2:3"], r"^-r 1:2:3: .*column 6\)"),
        (["box", "-t", "A:/x"], r"^-t A:/x: only -r .*column 1\)"),
        (["box", "-L"], "-L: expected one argument"),
        (["box", "-L", ""], r"^-L : both ends are needed"),
        (["box", "-Lg"], "^-L g: both ends are needed"),
    ],
)
def test_a_mistake_is_told_with_option_and_column(argv: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse(argv)


def test_who_wants_no_tunnel_does_not_wait_for_what_reads_them() -> None:
    script = """
import sys
from trioet.cli.connect_options import parse
parse(["box", "-A", "-g"])
assert "trioet.wire.forward_specs" not in sys.modules
parse(["box", "-L", "1:h:2", "-t", "3:4"])
slow = {"trio", "nacl", "google", "asyncssh", "asyncio", "ssl", "ipaddress", "socket"}
sys.exit(" ".join(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)

    assert done.stderr.strip() == ""


def test_a_bad_tunnel_is_refused_before_anything_is_contacted() -> None:
    command = [sys.executable, "-m", "trioet.cli.main", "connect", "box", "-L", "80:ho st:80"]
    environment = {**os.environ, "PATH": "/nowhere"}  # an ssh that is started is told
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        'trioet: -L 80:ho st:80: "ho st" is no host (column 4)\n        80:ho st:80\n           ^\n'
    )
