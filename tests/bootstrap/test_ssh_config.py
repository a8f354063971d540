from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fixtures_sshd import Sshd
from trioet.bootstrap.asyncssh_config import read_config
from trioet.bootstrap.spawn import SshTarget, ssh_argv, ssh_config_argv
from trioet.bootstrap.ssh_config import (
    SshConfig,
    check_usable,
    environment_to_send,
    parse_ssh_config,
)
from trioet.errors import StepFailed
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, Forward, Side, UnixPath
from waiting import until

ANSWER = b"""\
host work
user me
hostname 10.0.0.7
port 2200
addressfamily inet6
identitiesonly yes
requesttty force
sessiontype default
stdinnull no
stricthostkeychecking accept-new
hostkeyalias work-key
hashknownhosts yes
identityagent none
knownhostscommand /bin/lookup %H
identityfile ~/.ssh/id_ed25519
identityfile ~/key with space
certificatefile ~/x-cert.pub
globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2
userknownhostsfile /home/me/my hosts ~/.kh2
sendenv LANG
sendenv LC_*
setenv A=1
setenv B=two words=2
connecttimeout 3
escapechar none
proxyjump u@j1:33,j2
futureword whatever it means
"""


def test_the_answer_of_ssh_is_understood() -> None:
    assert parse_ssh_config(ANSWER) == SshConfig(
        hostname="10.0.0.7",
        port=2200,
        user="me",
        address_family="inet6",
        set_env=(("A", "1"), ("B", "two words=2")),
        send_env=("LANG", "LC_*"),
        request_tty="force",
        escape_char="none",
        identity_files=("~/.ssh/id_ed25519", "~/key with space"),
        certificate_files=("~/x-cert.pub",),
        identity_agent="none",
        identities_only=True,
        proxy_jump="u@j1:33,j2",
        host_key_alias="work-key",
        strict_host_key_checking="accept-new",
        user_known_hosts=("/home/me/my hosts", "~/.kh2"),
        global_known_hosts=("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
        known_hosts_command="/bin/lookup %H",
        hash_known_hosts=True,
        connect_timeout_s=3.0,
    )


def test_words_that_an_older_ssh_does_not_say_have_their_defaults() -> None:
    assert parse_ssh_config(b"hostname x\n") == SshConfig("x")


def test_none_means_none() -> None:
    answer = b"hostname x\nproxycommand none\nuserknownhostsfile none\nconnecttimeout none\n"

    assert parse_ssh_config(answer) == SshConfig("x")


@pytest.mark.parametrize("answer", [b"", b"usage: ssh\n", b"hostname x\nport many\n"])
def test_what_is_no_such_answer_is_told(answer: bytes) -> None:
    with pytest.raises(StepFailed, match="cannot be read"):
        parse_ssh_config(answer)


@given(st.binary())
def test_any_bytes_are_an_answer_or_told(answer: bytes) -> None:
    try:
        config = parse_ssh_config(b"hostname x\n" + answer)
    except StepFailed:
        return
    environment_to_send(config, {b"A": b"1"})


def test_send_env_picks_from_the_environment_by_pattern() -> None:
    config = SshConfig("x", send_env=("LANG", "LC_*", "X?", "Y[1]"))
    environment = {
        b"LANG": b"de",
        b"LC_ALL": b"\xff",
        b"XY": b"1",
        b"XYZ": b"2",
        b"lang": b"3",
        b"Y1": b"4",
        b"Y[1]": b"5",
    }

    sent = environment_to_send(config, environment)

    assert sent == {b"LANG": b"de", b"LC_ALL": b"\xff", b"XY": b"1", b"Y[1]": b"5"}


def test_set_env_wins_over_send_env() -> None:
    config = SshConfig("x", send_env=("*",), set_env=(("A", "set"), ("B", "\udcff")))

    assert environment_to_send(config, {b"A": b"sent"}) == {b"A": b"set", b"B": b"\xff"}


def test_configurations_that_run_no_command_are_refused_with_the_word_to_change() -> None:
    check_usable(SshConfig("x"), "box")
    with pytest.raises(StepFailed, match="SessionType none") as failure:
        check_usable(SshConfig("x", session_type="none"), "box")
    assert "-o SessionType=default" in failure.value.hint
    with pytest.raises(StepFailed, match="StdinNull yes") as failure:
        check_usable(SshConfig("x", stdin_null=True), "box")
    assert "-o StdinNull=no" in failure.value.hint


def output_of(argv: list[str]) -> tuple[int, bytes]:
    """Exit status and output of a command."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return done.returncode, done.stdout


def config_of(path: Path, text: str, *options: str, gateway_ports: bool = False) -> SshConfig:
    """What a real ssh makes of a configuration, and we of its answer."""
    path.write_text(text)
    target = SshTarget("x", config_file=str(path), options=options, gateway_ports=gateway_ports)
    status, answer = output_of(ssh_config_argv(target))
    assert status == 0
    return parse_ssh_config(answer)


def ends(forwards: tuple[Forward, ...]) -> list[tuple[object, object]]:
    return [(forward.listen, forward.destination) for forward in forwards]


HOST = Address("host", 80)

LOCAL = """\
Host x
  LocalForward 1 host:80
  LocalForward localhost:2 host:80
  LocalForward *:3 host:80
  LocalForward :4 host:80
  LocalForward [::1]:5 [fe80::1]:80
  LocalForward 127.0.0.1:6 /run/d
  LocalForward /run/l host:80
  LocalForward "/run/l\\ 2" /run/d:e
Host *
  LocalForward 7 host:80
"""


@pytest.mark.parametrize(("gateway_ports", "bare"), [(False, LOOPBACK), (True, ANYWHERE)])
def test_local_tunnels_of_the_configuration_are_those_of_ssh(
    tmp_path: Path, gateway_ports: bool, bare: str
) -> None:
    text = LOCAL.replace("/run/d:e", "/run/d\\\\:e")
    config = config_of(tmp_path / "config", text, gateway_ports=gateway_ports)

    assert ends(config.local_forwards) == [
        (Address(bare, 1), HOST),
        (Address(LOOPBACK, 2), HOST),
        (Address(ANYWHERE, 3), HOST),
        (Address(ANYWHERE, 4), HOST),
        (Address("::1", 5), Address("fe80::1", 80)),
        (Address("127.0.0.1", 6), UnixPath("/run/d")),
        (UnixPath("/run/l"), HOST),
        (UnixPath("/run/l 2"), UnixPath("/run/d:e")),
        (Address(bare, 7), HOST),
    ]
    assert {forward.side for forward in config.local_forwards} == {Side.LOCAL}
    assert str(config.local_forwards[1]) == "LocalForward [localhost]:2 [host]:80"
    assert config.gateway_ports is gateway_ports
    assert config.remote_forwards == config.dynamic_forwards == ()


def test_remote_tunnels_of_the_configuration_are_those_of_ssh(tmp_path: Path) -> None:
    text = """\
GatewayPorts yes
RemoteForward 1 host:80
RemoteForward 0 host:80
RemoteForward *:2 host:80
RemoteForward [::1]:3 /run/d
RemoteForward /run/l host:80
RemoteForward /run/l2 /run/d
RemoteForward 4
RemoteForward 0
RemoteForward :5
RemoteForward [::1]:6
RemoteForward /run/l3
"""
    config = config_of(tmp_path / "config", text)

    assert ends(config.remote_forwards) == [
        (Address(LOOPBACK, 1), HOST),
        (Address(LOOPBACK, 0), HOST),
        (Address(ANYWHERE, 2), HOST),
        (Address("::1", 3), UnixPath("/run/d")),
        (UnixPath("/run/l"), HOST),
        (UnixPath("/run/l2"), UnixPath("/run/d")),
        (Address(LOOPBACK, 4), None),
        (Address(LOOPBACK, 0), None),
        (Address(ANYWHERE, 5), None),
        (Address("::1", 6), None),
        (UnixPath("/run/l3"), None),
    ]
    assert {forward.side for forward in config.remote_forwards} == {Side.REMOTE}
    assert config.local_forwards == config.dynamic_forwards == ()


def test_socks_of_the_configuration_is_that_of_ssh(tmp_path: Path) -> None:
    text = """\
DynamicForward 1
DynamicForward localhost:2
DynamicForward *:3
DynamicForward [::1]:4
LocalForward 5 /run/d
LocalForward /run/l /run/d
"""
    config = config_of(tmp_path / "config", text)

    assert ends(config.dynamic_forwards) == [
        (Address(LOOPBACK, 1), None),
        (Address(LOOPBACK, 2), None),
        (Address(ANYWHERE, 3), None),
        (Address("::1", 4), None),
    ]
    assert {forward.side for forward in config.dynamic_forwards} == {Side.LOCAL}
    assert config_of(tmp_path / "config", text, "GatewayPorts=yes").dynamic_forwards[0] == (
        Forward(Side.LOCAL, Address(ANYWHERE, 1), None, written="DynamicForward 1")
    )


def test_what_concerns_tunnels_is_said_in_files_and_by_options(tmp_path: Path) -> None:
    path = tmp_path / "config"
    usual = config_of(path, "")
    said = config_of(path, "ExitOnForwardFailure yes\nGatewayPorts yes\n", "ForwardAgent=yes")

    assert (usual.exit_on_forward_failure, usual.gateway_ports) == (False, False)
    assert usual.forward_agent == "no"
    assert (said.exit_on_forward_failure, said.gateway_ports) == (True, True)
    assert said.forward_agent == "yes"
    assert config_of(path, "ForwardAgent $MY_AGENT\n").forward_agent == "$MY_AGENT"
    assert config_of(path, "ForwardAgent /run/agent\n").forward_agent == "/run/agent"


def test_who_clears_all_forwardings_has_none(tmp_path: Path) -> None:
    text = "LocalForward 1 host:80\nRemoteForward 1\nDynamicForward 2\n"
    config = config_of(tmp_path / "config", text, "ClearAllForwardings=yes")

    assert config.local_forwards == config.remote_forwards == config.dynamic_forwards == ()


def test_a_tunnel_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="ssh's configuration: LocalForward 1 run/d: ") as failure:
        config_of(tmp_path / "config", "LocalForward 1 run/d\n")

    assert '"run/d" is no absolute path' in failure.value.what
    assert "(column 3)" in failure.value.what


async def test_the_visit_that_brings_the_key_opens_no_tunnel_and_forwards_no_agent(
    sshd: Sshd, runtime_dir: Path
) -> None:
    agent, listened = runtime_dir / "agent", runtime_dir / "listened"
    path = sshd.ssh_config_path
    path.write_text(
        path.read_text().replace("IdentityAgent none", f"IdentityAgent {agent}")
        + "  ExitOnForwardFailure yes\n"
        + "  ForwardAgent yes\n"
        + f"  LocalForward {listened} host:80\n"
        + f"  LocalForward 127.0.0.1:{sshd.port} host:80\n"  # taken
        + f"  RemoteForward 127.0.0.1:{sshd.port} host:80\n"
        + f"  DynamicForward 127.0.0.1:{sshd.port}\n"
    )
    target = SshTarget(sshd.host_alias, config_file=str(path))
    look = f"ls {listened} 2>/dev/null; echo agent=${{SSH_AUTH_SOCK:+forwarded}}"
    usual = ["ssh", "-F", str(path)]

    process = await trio.lowlevel.open_process(
        ["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL
    )
    try:
        await until(agent.exists)
        visit = output_of(ssh_argv(target, look))
        asked = output_of(ssh_config_argv(target))
        with_agent = output_of([*usual, "-oClearAllForwardings=yes", sshd.host_alias, look])
        with_all = output_of([*usual, sshd.host_alias, look])
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()

    assert visit == (0, b"agent=\n")
    assert with_agent == (0, b"agent=forwarded\n")
    assert with_all == (255, b"")
    answer = parse_ssh_config(asked[1])
    assert len(answer.local_forwards) == 2
    assert len(answer.remote_forwards) == len(answer.dynamic_forwards) == 1
    assert (answer.forward_agent, answer.exit_on_forward_failure) == ("yes", True)


@pytest.mark.parametrize("agent", ["yes", "no", "{socket}", "$MY_AGENT"])
def test_asyncssh_knows_of_agents_what_ssh_does(tmp_path: Path, agent: str) -> None:
    path, socket = tmp_path / "config", tmp_path / "agent"
    socket.touch()
    agent = agent.format(socket=socket)
    config = config_of(path, f"ForwardAgent {agent}\n")
    theirs = read_config(SshTarget("x", config_file=str(path)))

    assert theirs.forward_agent == config.forward_agent == agent


@pytest.mark.parametrize("said", ["yes", "no"])
def test_asyncssh_knows_of_tunnels_what_options_say(tmp_path: Path, said: str) -> None:
    path, options = tmp_path / "config", (f"ExitOnForwardFailure={said}", f"GatewayPorts {said}")
    config = config_of(path, "LocalForward 1 host:80\n", *options)
    theirs = read_config(SshTarget("x", config_file=str(path), options=options))

    assert theirs.exit_on_forward_failure is config.exit_on_forward_failure is (said == "yes")
    assert theirs.gateway_ports is config.gateway_ports is (said == "yes")
    assert theirs.local_forwards == ()
    assert read_config(SshTarget("x", config_file=str(path), gateway_ports=True)).gateway_ports
