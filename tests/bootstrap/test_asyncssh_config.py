from __future__ import annotations

from pathlib import Path

import pytest

from trioet.bootstrap.asyncssh_config import read_config
from trioet.bootstrap.openssh import fetch_ssh_config
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import StepFailed

CONFIG = """\
Host work
  HostName 10.0.0.7
  Port 2200
  User me
  AddressFamily any
  SetEnv A=1 B=two=2
  SendEnv LANG LC_*
  RequestTTY force
  IdentityFile /k1
  IdentityFile /k2
  IdentitiesOnly yes
  IdentityAgent /run/agent
  CertificateFile /k1-cert.pub
  ProxyJump u@j1:33,j2
  HostKeyAlias alias
  UserKnownHostsFile /kh1 /kh2
  GlobalKnownHostsFile /kh3
  ConnectTimeout 3
Host piped
  ProxyCommand nc %h %p
  IdentityFile none
"""


@pytest.fixture
def target(tmp_path: Path) -> SshTarget:
    (tmp_path / "config").write_text(CONFIG)
    return SshTarget("work", config_file=str(tmp_path / "config"))


async def test_asyncssh_understands_the_file_as_ssh_does(target: SshTarget) -> None:
    target = target._replace(options=("StrictHostKeyChecking=accept-new", "Port 2201"))

    config = read_config(target)

    assert config.identity_files == ("/k1", "/k2")
    assert config == await fetch_ssh_config(target)
    assert (config.port, config.strict_host_key_checking) == (2201, "accept-new")


def test_a_host_without_an_entry_has_what_is_usual(target: SshTarget) -> None:
    config = read_config(target._replace(host="else", user="you"))

    assert (config.hostname, config.port, config.user) == ("else", 22, "you")
    assert "~/.ssh/id_ed25519" in config.identity_files
    assert config.user_known_hosts[0] == "~/.ssh/known_hosts"
    assert config.strict_host_key_checking == "ask"
    assert config.request_tty == "auto"
    assert config.proxy_jump is None
    assert config.connect_timeout_s is None


def test_keys_named_on_the_command_line_come_first(target: SshTarget) -> None:
    assert read_config(target._replace(identity_files=("/k0",))).identity_files[0] == "/k0"


def test_a_proxy_command_is_taken_over(target: SshTarget) -> None:
    config = read_config(target._replace(host="piped", options=("RequestTTY=no",)))

    assert config.proxy_command == "nc piped 22"
    assert config.request_tty == "no"


@pytest.mark.parametrize("file", ["none", None])
def test_there_need_not_be_a_file(
    target: SshTarget, file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr("trioet.bootstrap.asyncssh_config.SYSTEM_CONFIG", "/nowhere")

    assert read_config(target._replace(config_file=file)).hostname == "work"


def test_the_files_of_user_and_system_are_read(
    target: SshTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host work\n Port 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("trioet.bootstrap.asyncssh_config.SYSTEM_CONFIG", target.config_file)

    config = read_config(target._replace(config_file=None))

    assert (config.hostname, config.port) == ("10.0.0.7", 1)


@pytest.mark.parametrize("text", ["Port many\n", "Port\n", 'User "\n'])
def test_a_file_that_makes_no_sense_is_told(target: SshTarget, tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)

    with pytest.raises(StepFailed, match="configuration for work cannot be read"):
        read_config(target)


def test_a_file_that_is_not_there_is_told(target: SshTarget) -> None:
    with pytest.raises(StepFailed, match=r"cannot be read: .*No such file"):
        read_config(target._replace(config_file="/nowhere/config"))
