"""`trioet check`: what a far side tells the doctor."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ports import free_ports
from trioet.cli import check
from trioet.doctor.reach import REQUEST, STRANGER
from trioet.doctor.stand_in import INVALID_KEY
from trioet.server.keeper import OWN_PORTS
from trioet.wire.framing import handshake_frame
from trioet.wire.messages import ConnectRequest, encode_connect_request

COMMAND = [sys.executable, "-m", "trioet.cli.main", "check"]


def test_the_ports_are_those_of_a_keeper() -> None:
    assert (check.OWN_PORTS[0], check.OWN_PORTS[-1]) == OWN_PORTS


def test_it_says_its_line_and_ends(runtime_dir: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--term", "xterm", "--of-a-newer-doctor"], capture_output=True, check=True
    )
    line = done.stdout.decode()
    assert line.startswith(check.PREFIX)
    facts = json.loads(line.removeprefix(check.PREFIX))
    assert facts["runtime"]["path"] == str(runtime_dir)
    assert "stand_in" not in facts


def test_it_stays_in_the_keeper_s_place_until_the_end_of_stdin(runtime_dir: Path) -> None:
    port = free_ports(1)[0]
    with subprocess.Popen(
        [*COMMAND, f"--stand-in={port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as staying:
        assert staying.stdout is not None
        line = staying.stdout.readline().decode()
        assert json.loads(line.removeprefix(check.PREFIX))["stand_in"] == port
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(bytes(8))
            assert caller.recv(100) == INVALID_KEY
        staying.communicate()
    assert staying.returncode == 0
    assert list(runtime_dir.iterdir()) == []


@pytest.mark.parametrize("answer", [INVALID_KEY, b"SSH-2.0-OpenSSH_9.2\r\n", b""])
def test_it_looks_whether_another_place_is_reached(runtime_dir: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen([*COMMAND, "--reach", place], stdout=subprocess.PIPE) as asked:
            with listener.accept()[0] as caller:
                assert caller.recv(100) == REQUEST
                caller.sendall(answer)
            told, _ = asked.communicate(timeout=20)
    facts = json.loads(told.decode().removeprefix(check.PREFIX))
    assert facts["reach"] == {"state": "connected", "answer": answer.hex()}


def test_a_place_that_is_not_reached_is_told(runtime_dir: Path) -> None:
    place = f"127.0.0.1:{free_ports(1)[0]}"
    done = subprocess.run([*COMMAND, "--reach", place], capture_output=True, check=True)
    facts = json.loads(done.stdout.decode().removeprefix(check.PREFIX))
    assert facts["reach"] == {"state": "refused"}
    done = subprocess.run([*COMMAND, "--reach", "no..name:1"], capture_output=True, check=True)
    facts = json.loads(done.stdout.decode().removeprefix(check.PREFIX))
    assert facts["reach"]["state"] == "unreachable"
    assert facts["reach"]["words"]


@pytest.mark.parametrize("place", ["", "host", "host:", ":22", "host:0", "host:65536", "host:x"])
def test_what_is_no_place_is_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check.main(["--reach", place])
    assert "not a host and a port" in capsys.readouterr().err


def test_what_it_says_there_is_a_strangers_connect_request() -> None:
    body = encode_connect_request(ConnectRequest(STRANGER))
    assert handshake_frame(body) == REQUEST


def test_where_no_port_is_free_it_says_so(runtime_dir: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, f"--stand-in={port}"], capture_output=True, check=True)
    assert json.loads(done.stdout.decode().removeprefix(check.PREFIX))["stand_in"] is None


@pytest.mark.parametrize("ports", ["0", "x", "-5", "7-6", "65536", "1-65536"])
def test_what_is_no_port_is_refused(ports: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check.main([f"--stand-in={ports}"])
    assert "not a port" in capsys.readouterr().err
