"""One port, or none: the same session over whatever gets through, with a real sshd."""

from __future__ import annotations

import re
import socket

import pytest
import trio

from farside import FarSide
from ports import free_ports
from ptys import at_terminal
from trioet.demo.cutter import Cutter

pytestmark = pytest.mark.e2e

DETOUR = b"cannot be reached from here: the session goes through ssh"


def forbid_forwarding(far_side: FarSide) -> None:
    """Have sshd say no to every channel but those of commands."""
    key = far_side.sshd.user_key_path.with_suffix(".pub").read_text()
    (far_side.sshd.directory / "authorized_keys").write_text(f"no-port-forwarding {key}")


def test_a_port_that_rejects_is_gone_around_by_ssh(
    far_side: FarSide, free_tcp_port: int
) -> None:
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
