from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from fixtures_sshd import Sshd
from trioet.bootstrap import asyncssh_bridge, openssh
from trioet.bootstrap.asyncio_border import in_trio_loop, in_worker_thread
from trioet.bootstrap.credentials import bootstrap_line, new_credentials
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.remote_command import remote_command
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed

REAL_ID = "abcdefghijklmnop"
REAL_PASSKEY = "0123456789ABCDEF0123456789abcdef"
MARKER = f"IDPASSKEY:{REAL_ID}/{REAL_PASSKEY}"
INVITATION = Invitation(REAL_ID, REAL_PASSKEY, 2022, True, "0.1.0")
SOON_S = 20

TERMINAL = f"""
IFS= read -r line
printf '%s\\n' "$line" > "$HOME/stdin"
printf '%s\\n' '{MARKER}' 'TRIOET:{{"version":"0.1.0","port":2022,"router":true}}'
"""

LINE = bootstrap_line(new_credentials(), "xterm")

# Keeps the command from ending, until the connection ends.
LINGER = 'echo > "$HOME/lingering"; while sleep 0.05; do echo still here; done'

Border = Callable[[Callable[[], Coroutine[object, object, object]]], Awaitable[object]]


@pytest.fixture(params=[in_trio_loop, in_worker_thread])
def border(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Border:
    """Both ways to run asyncio, whichever this Python's own is."""
    monkeypatch.setattr(asyncssh_bridge, "in_asyncio", request.param)
    chosen: Border = request.param
    return chosen


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an ssh-agent without keys."""
    path = tmp_path / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()  # printed once the socket is there
    yield path
    process.terminate()
    process.communicate()


def target(sshd: Sshd, *options: str, host: str | None = None) -> SshTarget:
    config = str(sshd.ssh_config_path)
    return SshTarget(host or sshd.host_alias, config_file=config, options=options)


async def invite(sshd: Sshd, *options: str, command: str | None = None) -> Invitation:
    with trio.fail_after(SOON_S):
        return await asyncssh_bridge.run(target(sshd, *options), command or remote_command(), LINE)


@pytest.mark.usefixtures("border")
async def test_asyncssh_brings_the_invitation_of_the_far_side(sshd: Sshd) -> None:
    sshd.put_program("trioet", TERMINAL)

    assert await invite(sshd) == INVITATION
    assert (sshd.home / "stdin").read_bytes() == LINE


@pytest.mark.usefixtures("border")
async def test_cancellation_ends_the_connection(sshd: Sshd) -> None:
    sshd.put_program("trioet", LINGER)

    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(invite, sshd)
            while not (sshd.home / "lingering").exists():  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_asyncssh_serves_where_there_is_no_ssh_program(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioet.bootstrap.asyncssh_bridge.shutil.which", lambda _: None)
    sshd.put_program("trioet", TERMINAL)

    assert await invite(sshd) == INVITATION


async def test_noise_of_start_up_files_is_tolerated(
    sshd: Sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    sshd.put_program("trioet", TERMINAL)
    noise = "head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[31mred\\n' >&2"
    sshd.use_login_shell(f'{noise}\nexec sh -c "$SSH_ORIGINAL_COMMAND"')

    assert await invite(sshd) == INVITATION
    assert "red\n" in capfd.readouterr().err


async def test_noise_without_end_is_given_up(sshd: Sshd) -> None:
    sshd.use_login_shell("exec yes")

    with pytest.raises(StepFailed, match="printed more than"):
        await invite(sshd)


async def test_an_et_terminal_that_does_not_end_is_not_waited_for(sshd: Sshd) -> None:
    sshd.put_program("etterminal", f"echo {MARKER}; exec 2>&1; sleep 30")

    command = f"{sshd.bin}/etterminal"
    assert await invite(sshd, command=command) == Invitation(REAL_ID, REAL_PASSKEY)


async def test_a_missing_program_is_told_with_ways_to_install_it(sshd: Sshd) -> None:
    with pytest.raises(StepFailed) as failure:
        await invite(sshd, command=remote_command(terminal_path="/nowhere/trioet"))

    assert failure.value.what == "neither trioet nor etterminal was found on farside"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo no entry; exit 3", "ended with exit status 3. Its last words: no entry"),
        ("echo cut; kill -9 $PPID", "onnection .*was lost"),
        ("exit 127", "neither trioet nor etterminal was found"),
        ("kill -9 $$", "was ended by SIGKILL, nothing was printed"),
    ],
)
async def test_a_command_that_ends_without_an_invitation_is_told(
    sshd: Sshd, script: str, problem: str
) -> None:
    with pytest.raises(StepFailed, match=problem):
        await invite(sshd, command=script)


async def test_silence_is_given_up_at_last(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioet.bootstrap.openssh.INVITATION_DEADLINE_S", 1)

    with pytest.raises(StepFailed, match="within 1 s"):
        await invite(sshd, command="cat; while sleep 0.05; do echo; done")


async def test_a_port_where_no_sshd_is_is_told(sshd: Sshd, free_tcp_port: int) -> None:
    with pytest.raises(StepFailed) as failure:
        await invite(sshd, f"Port={free_tcp_port}")

    assert failure.value.step == "ssh"
    assert failure.value.what == (
        f"farside (127.0.0.1 port {free_tcp_port}) cannot be reached: Connection refused"
    )


async def test_a_host_name_that_nobody_knows_is_told(sshd: Sshd) -> None:
    with pytest.raises(StepFailed, match="cannot be reached"):
        await invite(sshd, "HostName=nowhere.invalid")


async def test_a_server_that_speaks_no_ssh_is_told(sshd: Sshd) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"HTTP/1.1 400 \x1b[31mBad\r\n" * 2000)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, speak, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]

        with pytest.raises(StepFailed) as failure:
            await invite(sshd, f"Port={port}")

        assert failure.value.what.startswith("ssh to farside failed: ")
        assert failure.value.what.isprintable()
        nursery.cancel_scope.cancel()


async def test_a_key_that_sshd_does_not_know_is_told(sshd: Sshd) -> None:
    (sshd.directory / "authorized_keys").write_text("")

    with pytest.raises(StepFailed, match=r"farside refuses to log in .*: no key or password"):
        await invite(sshd)


async def test_a_changed_host_key_is_refused_loudly(sshd: Sshd) -> None:
    other = sshd.user_key_path.with_suffix(".pub").read_text()
    sshd.known_hosts_path.write_text(f"[127.0.0.1]:{sshd.port} {other}")

    for checking in ("yes", "ask", "accept-new", "no"):
        with pytest.raises(StepFailed, match="host key of farside has CHANGED") as failure:
            await invite(sshd, f"StrictHostKeyChecking={checking}")
        assert f"ssh-keygen -R [127.0.0.1]:{sshd.port}" in failure.value.hint


async def test_an_unknown_host_is_refused_if_the_configuration_is_strict(sshd: Sshd) -> None:
    sshd.known_hosts_path.write_text("nonsense\n# comment\n")

    with pytest.raises(StepFailed, match=r"not trusted .*SHA256:"):
        await invite(sshd)


@pytest.mark.parametrize("hashing", ["yes", "no"])
async def test_accept_new_trusts_an_unknown_host_and_remembers_it_as_ssh_does(
    sshd: Sshd, hashing: str
) -> None:
    sshd.put_program("trioet", TERMINAL)
    sshd.known_hosts_path.unlink()

    await invite(sshd, "StrictHostKeyChecking=accept-new", f"HashKnownHosts={hashing}")

    assert sshd.known_hosts_path.read_text().startswith("|1|" if hashing == "yes" else "[127.")
    assert await invite(sshd) == INVITATION
    with trio.fail_after(SOON_S):
        assert await openssh.run(target(sshd), remote_command(), LINE) == INVITATION


async def test_a_host_is_known_by_its_alias(sshd: Sshd) -> None:
    sshd.put_program("trioet", TERMINAL)
    key = sshd.host_key_path.with_suffix(".pub").read_text()
    sshd.known_hosts_path.write_text(f"the-alias {key}")

    assert await invite(sshd, "HostKeyAlias=the-alias") == INVITATION


async def test_a_key_may_come_from_the_agent(sshd: Sshd, agent: Path) -> None:
    sshd.put_program("trioet", TERMINAL)
    add = ["ssh-add", "-q", str(sshd.user_key_path)]
    await trio.run_process(add, env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
    sshd.user_key_path.unlink()

    assert await invite(sshd, f"IdentityAgent={agent}") == INVITATION
    assert await invite(sshd, f"IdentityAgent={agent}", "IdentitiesOnly=no") == INVITATION
    with pytest.raises(StepFailed, match="refuses to log in"):
        await invite(sshd, "IdentityAgent=none")


async def test_an_agent_that_is_gone_does_no_harm(sshd: Sshd, tmp_path: Path) -> None:
    sshd.put_program("trioet", TERMINAL)

    assert await invite(sshd, f"IdentityAgent={tmp_path}/gone", "IdentitiesOnly=no") == INVITATION


async def test_hosts_on_the_way_are_jumped_over(sshd: Sshd) -> None:
    sshd.put_program("trioet", TERMINAL)
    with sshd.ssh_config_path.open("a") as config:
        config.write(f"Host inner middle\n HostName 127.0.0.1\n Port {sshd.port}\n")
        config.write("Match originalhost inner\n ProxyJump middle,farside\n")
        config.write("Match originalhost middle\n ProxyJump farside\n")
        config.write(sshd.ssh_config_path.read_text().replace("Host farside", "Host *"))

    with trio.fail_after(SOON_S):
        invitation = await asyncssh_bridge.run(target(sshd, host="inner"), remote_command(), LINE)

    assert invitation == INVITATION


async def test_a_way_in_circles_is_noticed(sshd: Sshd) -> None:
    with pytest.raises(StepFailed, match="more than 8 hosts"):
        await invite(sshd, "ProxyJump=" + ",".join(["farside"] * 8))


async def test_a_jump_host_that_makes_no_sense_is_told(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioet.bootstrap.asyncssh_bridge.shutil.which", lambda _: None)

    with pytest.raises(StepFailed, match=r"ProxyJump of farside: .*no port"):
        await invite(sshd, "ProxyJump=x:y")


async def test_a_proxy_command_leads_there(sshd: Sshd) -> None:
    sshd.put_program("trioet", TERMINAL)

    proxy = f"ssh -F {sshd.ssh_config_path} -W %h:%p {sshd.host_alias}"
    assert await invite(sshd, f"ProxyCommand={proxy}") == INVITATION


async def test_what_asyncssh_cannot_do_is_left_to_ssh(sshd: Sshd) -> None:
    with pytest.raises(StepFailed, match="KnownHostsCommand") as failure:
        await invite(sshd, "KnownHostsCommand=/bin/true")

    assert failure.value.hint == "use --ssh-backend openssh"


async def test_verbose_output_never_shows_the_passkey(
    sshd: Sshd, caplog: pytest.LogCaptureFixture
) -> None:
    sshd.put_program("trioet", TERMINAL)
    with caplog.at_level("DEBUG", "asyncssh"):
        await asyncssh_bridge.run(target(sshd)._replace(verbose=3), remote_command(), LINE)

    assert "Auth" in caplog.text
    assert LINE.decode().strip() not in caplog.text
    assert REAL_PASSKEY not in caplog.text
