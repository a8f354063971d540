from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.bootstrap.ssh_config import (
    SshConfig,
    check_usable,
    environment_to_send,
    parse_ssh_config,
)
from trioet.errors import StepFailed

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
