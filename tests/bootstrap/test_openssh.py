from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from fixtures_sshd import Sshd
from trioet.bootstrap.credentials import bootstrap_line, new_credentials
from trioet.bootstrap.invitation import MAX_NOISE, Invitation
from trioet.bootstrap.openssh import (
    fetch_ssh_config,
    finish,
    read_invitation,
    read_ssh_config,
    run,
)
from trioet.bootstrap.remote_command import remote_command
from trioet.bootstrap.spawn import RunningSsh, SshTarget, spawn_ssh, ssh_argv
from trioet.errors import StepFailed

REAL_ID = "abcdefghijklmnop"
REAL_PASSKEY = "0123456789ABCDEF0123456789abcdef"
MARKER = f"IDPASSKEY:{REAL_ID}/{REAL_PASSKEY}"
DETAILS = 'TRIOET:{"version":"0.1.0","port":2022,"router":true}'
SOON_S = 20

# Stands for the far side's program: keeps what it was given, answers with an invitation.
TERMINAL = f"""
IFS= read -r line
printf '%s\\n' "$line" > "$HOME/stdin"
printf '%s\\n' "$@" > "$HOME/arguments"
tty > "$HOME/tty"
printf '%s\\n' '{MARKER}' '{DETAILS}'
"""

# Keeps ssh from ending, until the test is over.
LINGER = 'echo $$ > "$HOME/lingering"; exec sleep 1000'

LINE = bootstrap_line(new_credentials(), "xterm_weird")


FakeSsh = Callable[[str], RunningSsh]


@pytest.fixture
def fake_ssh() -> FakeSsh:
    """Start a shell script as if it were ssh."""
    return lambda script: spawn_ssh(["/bin/sh", "-c", script], LINE, "farside")


@contextlib.contextmanager
def lingering(sshd: Sshd) -> Iterator[None]:
    """End what LINGER left."""
    try:
        yield
    finally:
        os.kill(int((sshd.home / "lingering").read_text()), signal.SIGTERM)


def target(sshd: Sshd, *options: str) -> SshTarget:
    return SshTarget(sshd.host_alias, config_file=str(sshd.ssh_config_path), options=options)


async def invite(sshd: Sshd, *options: str, terminal_path: str | None = None) -> Invitation:
    command = remote_command(terminal_path=terminal_path)
    with trio.fail_after(SOON_S):
        return await run(target(sshd, *options), command, LINE)


async def test_ssh_brings_the_invitation_of_the_far_side(sshd: Sshd) -> None:
    sshd.put_program("trioet", TERMINAL)

    invitation = await invite(sshd)

    assert invitation == Invitation(REAL_ID, REAL_PASSKEY, 2022, True, "0.1.0")
    assert (sshd.home / "stdin").read_bytes() == LINE
    assert (sshd.home / "arguments").read_text() == "terminal\n"
    assert (sshd.home / "tty").read_text() == "not a tty\n"


async def test_ssh_configuration_made_for_people_does_not_disturb(
    sshd: Sshd, free_tcp_port: int
) -> None:
    sshd.put_program("trioet", TERMINAL)

    with trio.socket.socket() as occupant:
        await occupant.bind(("127.0.0.1", free_tcp_port))
        invitation = await invite(
            sshd,
            "RequestTTY=force",
            "RemoteCommand=echo wrong",
            f"LocalForward={free_tcp_port} 127.0.0.1:1",
            "ExitOnForwardFailure=yes",
        )

    assert invitation.client_id == REAL_ID
    assert (sshd.home / "tty").read_text() == "not a tty\n"


async def test_an_et_terminal_gives_an_invitation_without_details(sshd: Sshd) -> None:
    sshd.put_program("etterminal", f"cat > /dev/null; printf '%s\\n\\n' '{MARKER}'")

    with trio.fail_after(SOON_S):
        invitation = await invite(sshd, terminal_path=f"{sshd.bin}/etterminal")

    assert invitation == Invitation(REAL_ID, REAL_PASSKEY)


async def test_the_invitation_is_there_before_ssh_has_ended(sshd: Sshd) -> None:
    sshd.put_program("trioet", f"{TERMINAL}\n{LINGER}")
    running = spawn_ssh(ssh_argv(target(sshd), remote_command()), LINE, sshd.host_alias)

    with trio.fail_after(SOON_S), lingering(sshd):
        invitation = await read_invitation(running)

        assert invitation.port == 2022
        assert running.process.poll() is None
        await finish(running)
        assert running.process.poll() is not None


async def test_a_terminal_that_gives_no_details_and_does_not_end_is_not_waited_for(
    sshd: Sshd,
) -> None:
    sshd.put_program("etterminal", f"echo {MARKER}; {LINGER}")

    with lingering(sshd):
        invitation = await invite(sshd, terminal_path=f"{sshd.bin}/etterminal")

    assert invitation == Invitation(REAL_ID, REAL_PASSKEY)


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"])
async def test_the_remote_command_works_in_every_login_shell(sshd: Sshd, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    sshd.put_program("trioet", TERMINAL)
    sshd.use_login_shell(f'exec {shell} -c "$SSH_ORIGINAL_COMMAND"')

    assert await invite(sshd) == Invitation(REAL_ID, REAL_PASSKEY, 2022, True, "0.1.0")


@pytest.mark.parametrize(
    "noise",
    [
        "echo Welcome to Farside; echo; echo 'Last login: IDPASSKEY: never'",
        "head -c 102400 /dev/zero | tr '\\0' 'x'",
        "yes 'no such file' | head -c 1000000",
        "head -c 102400 /dev/urandom",
        "echo complaint >&2",
    ],
    ids=["motd", "no newline", "long", "binary", "stderr"],
)
async def test_noise_of_start_up_files_is_tolerated(sshd: Sshd, noise: str) -> None:
    sshd.put_program("trioet", TERMINAL)
    sshd.use_login_shell(f'{noise}\nexec sh -c "$SSH_ORIGINAL_COMMAND"')

    assert await invite(sshd) == Invitation(REAL_ID, REAL_PASSKEY, 2022, True, "0.1.0")


async def test_noise_without_end_is_given_up(sshd: Sshd) -> None:
    sshd.use_login_shell("exec yes")

    with pytest.raises(StepFailed, match=f"more than {MAX_NOISE} bytes") as failure:
        await invite(sshd)

    assert failure.value.step == "terminal"


async def test_a_shell_that_runs_no_commands_is_explained_by_what_it_printed(sshd: Sshd) -> None:
    sshd.use_login_shell("printf '\\033[31mThis account is\\nnot available\\033[0m\\n'; exit 1")

    with pytest.raises(StepFailed) as failure:
        await invite(sshd)

    assert failure.value.what == (
        "no invitation came from farside: ssh ended with exit status 1. "
        "Its last words: This account is not available"
    )


async def test_a_missing_program_is_told_with_ways_to_install_it(sshd: Sshd) -> None:
    with pytest.raises(StepFailed) as failure:
        await invite(sshd, terminal_path="/nowhere/trioet")

    assert failure.value.step == "terminal"
    assert failure.value.what == "neither trioet nor etterminal was found on farside"
    assert "pipx install trioet" in failure.value.hint
    assert "--terminal-path" in failure.value.hint


async def test_what_the_far_side_says_of_its_failure_is_passed_on(sshd: Sshd) -> None:
    error = '{"step":"keeper","what":"no free port","hint":"use --port"}'
    sshd.put_program("trioet", f"echo 'TRIOET-ERROR:{error}'; exit 1")

    with pytest.raises(StepFailed) as failure:
        await invite(sshd)

    assert failure.value.step == "keeper"
    assert failure.value.what == "farside: no free port"
    assert failure.value.hint == "use --port"


async def test_a_server_of_et_that_is_not_running_is_told(sshd: Sshd) -> None:
    words = "Error:  The Eternal Terminal daemon is not running."
    sshd.put_program("etterminal", f"echo '{words}'; kill -ABRT $$")

    with pytest.raises(StepFailed) as failure:
        await invite(sshd, terminal_path=f"{sshd.bin}/etterminal")

    assert "start etserver" in failure.value.hint


async def test_a_port_where_no_sshd_is_makes_ssh_fail(
    sshd: Sshd, free_tcp_port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed) as failure:
        await invite(sshd, f"Port={free_tcp_port}")

    assert failure.value.step == "ssh"
    assert failure.value.what == "ssh could not reach a shell on farside (exit status 255)"
    assert failure.value.hint == "ssh says why, above; try `ssh farside true`"
    assert "Connection refused" in capfd.readouterr().err


async def test_a_key_that_sshd_does_not_know_makes_ssh_fail(
    sshd: Sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    (sshd.directory / "authorized_keys").write_text("")

    with pytest.raises(StepFailed, match="could not reach a shell"):
        await invite(sshd)

    assert "Permission denied" in capfd.readouterr().err


async def test_a_changed_host_key_makes_ssh_fail(
    sshd: Sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    key = sshd.user_key_path.with_suffix(".pub").read_text()
    sshd.known_hosts_path.write_text(f"[127.0.0.1]:{sshd.port} {key}")

    with pytest.raises(StepFailed, match="could not reach a shell"):
        await invite(sshd)

    assert "HOST IDENTIFICATION HAS CHANGED" in capfd.readouterr().err


async def test_an_ssh_that_gives_no_sign_is_given_up_at_last(
    fake_ssh: FakeSsh, autojump_clock: trio.testing.MockClock
) -> None:
    running = fake_ssh("exec sleep 1000")
    autojump_clock.autojump_threshold = 0.05

    with pytest.raises(StepFailed, match="within 300 s"):
        await read_invitation(running)

    assert running.process.poll() is not None


async def test_the_end_of_ssh_is_noticed_though_its_output_is_held_open(
    fake_ssh: FakeSsh, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = fake_ssh(f"cat < {fifo} & exit 255")

    with trio.fail_after(SOON_S), pytest.raises(StepFailed, match="exit status 255"):
        await read_invitation(running)

    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


async def test_cancellation_ends_ssh(fake_ssh: FakeSsh) -> None:
    running = fake_ssh("exec sleep 1000")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_invitation, running)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert running.process.poll() is not None


async def test_an_ssh_that_ignores_sigterm_is_ended_all_the_same(fake_ssh: FakeSsh) -> None:
    running = fake_ssh("trap '' TERM; echo ready; while :; do read x < /dev/zero; done")
    # Its being ready shows in the pipe, which stays unread.
    await trio.lowlevel.wait_readable(running.output)

    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish, running)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    assert running.process.poll() == -9
    os.close(running.output)


async def test_an_ssh_killed_from_outside_is_told(fake_ssh: FakeSsh) -> None:
    running = fake_ssh("kill -KILL $$")

    with pytest.raises(StepFailed, match="ssh was ended by SIGKILL"):
        await read_invitation(running)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 127", "neither trioet nor etterminal was found on farside"),
        ("echo odd; exit 255", r"ssh ended with exit status 255\. Its last words: odd"),
        ("exec >&- 2>&-; exec sleep 1000", "ssh closed its output, nothing was printed"),
    ],
)
async def test_an_end_without_an_invitation_is_told(
    fake_ssh: FakeSsh, script: str, problem: str
) -> None:
    running = fake_ssh(script)

    with trio.fail_after(SOON_S), pytest.raises(StepFailed, match=problem):
        await read_invitation(running)

    assert running.process.poll() is not None


async def test_the_configuration_of_the_host_is_what_ssh_makes_of_it(sshd: Sshd) -> None:
    config = await fetch_ssh_config(target(sshd, "SetEnv=A=1", "RequestTTY=force"))

    assert (config.hostname, config.port) == ("127.0.0.1", sshd.port)
    assert config.identity_files == (str(sshd.user_key_path),)
    assert config.set_env == (("A", "1"),)
    assert config.request_tty == "force"


async def test_a_configuration_that_ssh_rejects_is_told(sshd: Sshd) -> None:
    sshd.ssh_config_path.write_text("Nonsense yes\n")

    with pytest.raises(StepFailed, match="rejects its configuration for farside") as failure:
        await fetch_ssh_config(target(sshd))

    assert failure.value.hint == "`ssh -G farside` says why"


async def test_an_endless_configuration_is_refused(fake_ssh: FakeSsh) -> None:
    running = fake_ssh("exec yes")

    with trio.fail_after(SOON_S), pytest.raises(StepFailed, match="rejects"):
        await read_ssh_config(running)
