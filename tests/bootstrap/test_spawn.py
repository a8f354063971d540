from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from descriptors import descriptors
from fixtures_sshd import Sshd
from trioet.bootstrap.spawn import (
    SshTarget,
    spawn_ssh,
    spawn_ssh_config,
    ssh_argv,
    ssh_config_argv,
)
from trioet.errors import StepFailed

LINE = b"XXXid/passkey_xterm\n"

EVERYTHING = SshTarget(
    "box",
    user="me",
    config_file="conf",
    identity_files=("k1", "k2"),
    options=("A=1", "B=x,y"),
    verbose=2,
)


def test_the_words_of_the_user_are_passed_to_ssh_after_ours() -> None:
    argv = ssh_argv(EVERYTHING, "command")

    assert argv[0] == "ssh"
    assert argv.index("-T") < argv.index("-F")
    assert " ".join(argv).endswith(
        "-T -v -v -F conf -i k1 -i k2 -l me -o A=1 -o B=x,y -- box command"
    )


def test_ssh_is_asked_for_its_configuration_in_the_same_words() -> None:
    assert " ".join(ssh_config_argv(EVERYTHING)) == (
        "ssh -G -F conf -i k1 -i k2 -l me -o A=1 -o B=x,y -- box"
    )


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_ssh_starts_though_a_standard_stream_of_ours_is_closed(closed: str) -> None:
    """A pipe of ours may then have the number of that stream."""
    script = f"""
import os
os.close({closed})
from trioet.bootstrap.spawn import spawn_ssh
running = spawn_ssh(["sh", "-c", "cat; exit 3"], b"line", "box")
answer = os.read(running.output, 100)
os._exit(0 if (answer, running.process.wait()) == (b"line", 3) else 1)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_the_line_goes_in_by_stdin_and_the_answer_comes_out() -> None:
    running = spawn_ssh(["cat"], LINE, "box")

    assert running.process.wait() == 0
    assert os.read(running.output, 100) == LINE
    os.close(running.output)


def test_an_ssh_that_ends_at_once_is_no_error_yet() -> None:
    running = spawn_ssh(["true"], LINE * 10000, "box")

    assert running.process.wait() == 0
    os.close(running.output)


def test_a_missing_ssh_is_told_with_the_way_round() -> None:
    before = descriptors()

    with pytest.raises(StepFailed, match="cannot run nosuchssh: No such file") as failure:
        spawn_ssh(["nosuchssh"], LINE, "box")

    assert failure.value.step == "ssh"
    assert "--ssh-backend asyncssh" in failure.value.hint
    assert descriptors() == before


def test_an_abandoned_ssh_has_ended() -> None:
    running = spawn_ssh(["sleep", "1000"], LINE, "box")

    running.abandon()

    assert running.process.returncode is not None


def test_the_configuration_is_asked_for_silently(
    sshd: Sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    target = SshTarget("farside", config_file=str(sshd.directory / "nowhere"))

    running = spawn_ssh_config(ssh_config_argv(target), "farside")

    assert running.process.wait() == 255
    os.close(running.output)
    assert capfd.readouterr().err == ""


def test_ssh_can_be_started_without_importing_anything_slow() -> None:
    names = (
        "'subprocess', 'trio', 'nacl', 'google', 'asyncssh', 'asyncio', 'ssl', 'json', 'ipaddress'"
    )
    script = f"""
import sys
import trioet.bootstrap.spawn, trioet.bootstrap.remote_command, trioet.bootstrap.host
sys.exit(" ".join(name for name in ({names}) if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)

    assert done.stderr.strip() == ""


def test_no_passkey_is_ever_in_an_argument_list(sshd: Sshd, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    sshd.put_program("trioet", f"cat /proc/[0-9]*/cmdline > {seen} 2>/dev/null; cat")
    argv = ssh_argv(SshTarget("farside", config_file=str(sshd.ssh_config_path)), "trioet")

    running = spawn_ssh(argv, LINE, "farside")

    assert running.process.wait() == 0
    assert os.read(running.output, 100) == LINE
    os.close(running.output)
    assert b"farside" in seen.read_bytes()
    assert LINE.strip() not in seen.read_bytes()
