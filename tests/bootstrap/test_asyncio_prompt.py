"""ssh asks its questions on the terminal, whatever our own stdin is."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest
import trio

from fixtures_sshd import Sshd
from trioet.bootstrap.asyncio_border import in_trio_loop

SOON_S = 20
REAL_ID = "a" * 16
MARKER = f"IDPASSKEY:{REAL_ID}/{'b' * 32}"

PROGRAM = """
import importlib, sys, termios, trio
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed

config, backend, action, *options = sys.argv[1:]
backend = importlib.import_module(f"trioet.bootstrap.{backend}")
target = SshTarget("farside", config_file=config, options=tuple(options))

def echoes():
    with open("/dev/tty") as tty:
        return bool(termios.tcgetattr(tty)[3] & termios.ECHO)

async def run():
    return await backend.run(target, "trioet", b"line\\n")

async def answered():
    try:
        print((await run()).client_id)
    except StepFailed as error:
        print(error.what)

async def cancelled():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        while echoes():
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    print("echoes" if echoes() else "broken")

trio.run(globals()[action])
"""


@dataclass
class Terminal:
    """A pty that is the controlling terminal of a program."""

    master: int
    path: str

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        # A session leader's first terminal becomes its controlling one.
        shell = ["/bin/sh", "-c", ': <>"$0"; exec "$@"', self.path]
        return subprocess.Popen(
            [*shell, sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def answer(self, question: bytes, answer: bytes) -> None:
        """Wait for a question, then type the answer."""
        self._wait_for(question)
        os.write(self.master, answer + b"\n")

    def _wait_for(self, text: bytes) -> None:
        seen = b""
        deadline = time.monotonic() + SOON_S
        while text not in seen:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"the terminal shows {seen!r}"
            seen += os.read(self.master, 4096)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    master, slave = os.openpty()
    yield Terminal(master, os.ttyname(slave))
    os.close(slave)
    os.close(master)


@pytest.fixture
def sshd_with_locked_key(sshd: Sshd) -> Sshd:
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(sshd.user_key_path)]
    subprocess.run(change, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    sshd.put_program("trioet", f"echo {MARKER}")
    return sshd


both_backends = pytest.mark.parametrize("backend", ["openssh", "asyncssh_bridge"])


def output(program: subprocess.Popen[bytes]) -> str:
    printed, _ = program.communicate(timeout=SOON_S)
    return printed.decode().strip()


@both_backends
def test_a_passphrase_is_asked_for_on_the_terminal(
    sshd_with_locked_key: Sshd, terminal: Terminal, backend: str
) -> None:
    config = str(sshd_with_locked_key.ssh_config_path)
    program = terminal.run(config, backend, "answered")

    terminal.answer(b"assphrase for", b"secret")

    assert output(program) == REAL_ID


@both_backends
def test_a_wrong_passphrase_can_be_mended(
    sshd_with_locked_key: Sshd, terminal: Terminal, backend: str
) -> None:
    config = str(sshd_with_locked_key.ssh_config_path)
    program = terminal.run(config, backend, "answered")

    terminal.answer(b"assphrase for", b"wrong")
    terminal.answer(b"assphrase for", b"secret")

    assert output(program) == REAL_ID


def test_an_empty_passphrase_gives_the_key_up(
    sshd_with_locked_key: Sshd, terminal: Terminal
) -> None:
    config = str(sshd_with_locked_key.ssh_config_path)
    program = terminal.run(config, "asyncssh_bridge", "answered")

    terminal.answer(b"assphrase for", b"")

    assert "refuses to log in" in output(program)


@both_backends
def test_cancellation_during_a_question_leaves_the_terminal_as_it_was(
    sshd_with_locked_key: Sshd, terminal: Terminal, backend: str
) -> None:
    config = str(sshd_with_locked_key.ssh_config_path)
    program = terminal.run(config, backend, "cancelled")

    assert output(program) == "echoes"


@both_backends
def test_an_unknown_host_is_asked_about_and_remembered(
    sshd: Sshd, terminal: Terminal, backend: str
) -> None:
    sshd.put_program("trioet", f"echo {MARKER}")
    sshd.known_hosts_path.unlink()
    ask = "StrictHostKeyChecking=ask"

    program = terminal.run(str(sshd.ssh_config_path), backend, "answered", ask)
    terminal.answer(b"(yes/no", b"yes")
    assert output(program) == REAL_ID

    program = terminal.run(str(sshd.ssh_config_path), backend, "answered", ask)
    assert output(program) == REAL_ID


@both_backends
def test_an_unknown_host_need_not_be_trusted(sshd: Sshd, terminal: Terminal, backend: str) -> None:
    sshd.known_hosts_path.unlink()

    program = terminal.run(
        str(sshd.ssh_config_path), backend, "answered", "StrictHostKeyChecking=ask"
    )
    terminal.answer(b"(yes/no", b"no")

    assert output(program).startswith(("ssh could not reach", "the host key of farside is not"))
    assert not sshd.known_hosts_path.exists()


@both_backends
def test_without_a_terminal_nothing_is_asked(sshd_with_locked_key: Sshd, backend: str) -> None:
    arguments = [str(sshd_with_locked_key.ssh_config_path), backend, "answered"]

    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )

    assert output(program).startswith(("ssh could not reach", "farside refuses to log in"))


class Door(asyncssh.SSHServer):
    """Lets in who knows the password, asked for in one way or the other."""

    def __init__(self, way: str) -> None:
        self._way = way

    def password_auth_supported(self) -> bool:
        return self._way == "password"

    def validate_password(self, username: str, password: str) -> bool:
        return password == "secret"

    def kbdint_auth_supported(self) -> bool:
        return self._way == "questions"

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "Two factors", "", [("First\x07 factor:", False), ("Second factor:", True)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return list(responses) == ["secret", "123456"]


async def serve_door(
    way: str, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    async def work() -> None:
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            config=None,
            server_factory=lambda: Door(way),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=invite,
        )
        task_status.started(acceptor.get_port())
        try:
            await asyncio.Event().wait()
        finally:
            acceptor.close()

    def invite(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(f"{MARKER}\n")
        process.exit(0)

    await in_trio_loop(work)


async def run_at_door(
    way: str, backend: str, terminal: Terminal, directory: Path, answers: list[tuple[bytes, bytes]]
) -> str:
    """Go to a host that asks; return what the program printed in the end."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_door, way)
        config = directory / "config"
        config.write_text(
            f"Host farside\n HostName 127.0.0.1\n Port {port}\n User me\n IdentityFile none\n"
            f" IdentityAgent none\n UserKnownHostsFile {directory}/known\n"
            " StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
        )
        program = terminal.run(str(config), backend, "answered")
        for question, answer in answers:
            await trio.to_thread.run_sync(terminal.answer, question, answer)
        printed = await trio.to_thread.run_sync(output, program)
        nursery.cancel_scope.cancel()
    return printed


@both_backends
async def test_a_password_is_asked_for_until_it_is_right(
    terminal: Terminal, backend: str, tmp_path: Path
) -> None:
    answers = [(b"password:", b"wrong"), (b"password:", b"secret")]

    printed = await run_at_door("password", backend, terminal, tmp_path, answers)

    assert printed == REAL_ID


@both_backends
async def test_a_password_is_not_asked_for_without_end(
    terminal: Terminal, backend: str, tmp_path: Path
) -> None:
    answers = [(b"password:", b"wrong")] * 3

    printed = await run_at_door("password", backend, terminal, tmp_path, answers)

    assert printed.startswith(("ssh could not reach", "farside refuses to log in me"))


@both_backends
async def test_a_second_factor_is_asked_for(
    terminal: Terminal, backend: str, tmp_path: Path
) -> None:
    answers = [(b" factor:", b"secret"), (b"Second factor:", b"123456")]

    printed = await run_at_door("questions", backend, terminal, tmp_path, answers)

    assert printed == REAL_ID
