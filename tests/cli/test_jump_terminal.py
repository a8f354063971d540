"""`etterminal --jump`, as a real et and as ours run it by ssh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trioet.bootstrap.credentials import TRIOET_IS_HERE
from trioet.bootstrap.invitation import parse_invitation

PAIR = "XXXdefgh12345678/12345678901234567890123456789012"
"""Once in 238,328 times an id begins as those do that a terminal replaces; not this one."""

ENTRY = "import sys; from trioet.cli.terminal import etterminal; sys.exit(etterminal())"


def etterminal(
    runtime_dir: Path, *arguments: str, term: str = "xterm"
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", ENTRY, "--verbose=0", *arguments],
        input=f"{PAIR}_{term}\n".encode(),
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "TRIOET_RUNTIME_DIR": str(runtime_dir)},
    )


@pytest.mark.parametrize("term", ["xterm-256color", TRIOET_IS_HERE])
def test_the_id_and_the_key_are_those_of_the_session(runtime_dir: Path, term: str) -> None:
    done = etterminal(runtime_dir, "--jump", "--dsthost=far", "--dstport=2022", term=term)
    assert done.returncode == 0
    assert done.stdout.startswith(f"IDPASSKEY:{PAIR}\n".encode())
    invitation = parse_invitation(done.stdout)
    assert f"{invitation.client_id}/{invitation.passkey}" == PAIR
    assert invitation.port is not None


WRONG = [
    (("--jump",), "--jump: where to? --dsthost is missing"),
    (("--jump", "--dsthost=far", "--dstport=http"), "--dstport http: not a port"),
    (("--jump", "--dsthost=far", "--dstport=0"), "a jump to a port that is none"),
    (("--jump", "--dsthost=a b"), "a jump to a host whose name is none"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_is_wrong_is_told_to_ours_on_stdout(
    runtime_dir: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = etterminal(runtime_dir, *arguments, term=TRIOET_IS_HERE)
    assert done.returncode == 1
    assert done.stdout.startswith(b"TRIOET-ERROR:")
    assert said.encode() in done.stdout


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_and_to_theirs_on_stderr_for_it_would_take_it_for_an_id(
    runtime_dir: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = etterminal(runtime_dir, *arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == f"trioet on the jumphost: {said}\n".encode()
