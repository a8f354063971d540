"""ssh asks its questions on the terminal, whatever our own stdin is."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fixtures_sshd import Sshd

SOON_S = 20

PROGRAM = """
import sys, termios, trio
from trioet.bootstrap.openssh import run
from trioet.bootstrap.spawn import SshTarget

target = SshTarget("farside", config_file=sys.argv[1])

def echoes():
    with open("/dev/tty") as tty:
        return bool(termios.tcgetattr(tty)[3] & termios.ECHO)

async def answered():
    invitation = await run(target, "trioet", b"line\\n")
    print(invitation.client_id, echoes())

async def cancelled():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, target, "trioet", b"line\\n")
        while echoes():
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    print("echoes" if echoes() else "broken")

trio.run(globals()[sys.argv[2]])
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

    def wait_for(self, text: bytes) -> None:
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
    sshd.put_program("trioet", f"echo IDPASSKEY:{'a' * 16}/{'b' * 32}")
    return sshd


def test_a_passphrase_is_asked_for_on_the_terminal(
    sshd_with_locked_key: Sshd, terminal: Terminal
) -> None:
    program = terminal.run(str(sshd_with_locked_key.ssh_config_path), "answered")

    terminal.wait_for(b"Enter passphrase")
    os.write(terminal.master, b"secret\n")

    output, _ = program.communicate(timeout=SOON_S)
    assert output.split() == [b"a" * 16, b"True"]


def test_cancellation_during_a_question_leaves_the_terminal_as_it_was(
    sshd_with_locked_key: Sshd, terminal: Terminal
) -> None:
    program = terminal.run(str(sshd_with_locked_key.ssh_config_path), "cancelled")

    output, _ = program.communicate(timeout=SOON_S)
    assert output == b"echoes\n"
