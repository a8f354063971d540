from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.doctor.ssh_words import Login, SshWords

CHANGED = b"""\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Offending ED25519 key in /home/me/.ssh/known_hosts:7
Host key for [far.example]:2200 has changed and you have requested strict checking.
Host key verification failed.
"""

SAYINGS: dict[str, tuple[bytes, str, str]] = {
    "changed": (
        CHANGED,
        "is not the one known",
        "ssh-keygen -R '[far.example]:2200' -f /home/me/.ssh/known_hosts",
    ),
    "unknown": (b"Host key verification failed.\n", "is not known here", "ssh far true"),
    "refused by key": (
        b"me@far.example: Permission denied (publickey).\n",
        "far does not let in me; it accepts publickey",
        "authorized_keys",
    ),
    "refused by password": (
        b"me@far.example: Permission denied (publickey,password).\n",
        "it accepts publickey, password",
        "ssh-copy-id far",
    ),
    "open key": (
        b"Permissions 0644 for '/home/me/my key' are too open.\n"
        b"me@far: Permission denied (publickey).\n",
        "others may read it",
        "chmod 600 '/home/me/my key'",
    ),
    "open configuration": (
        b"Bad owner or permissions on /home/me/.ssh/config\n",
        "others may write it",
        "chmod 600 /home/me/.ssh/config",
    ),
    "many keys": (
        b"Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\n",
        "too many keys",
        "-o IdentitiesOnly=yes",
    ),
    "jump host": (
        b"ssh: Could not resolve hostname bastion: Name or service not known\n",
        "bastion does not resolve",
        "ssh -G far",
    ),
    "refused": (
        b"ssh: connect to host far.example port 22: Connection refused\r\n",
        "far.example port 22: Connection refused",
        "start sshd",
    ),
    "timed out": (
        b"ssh: connect to host far.example port 22: Connection timed out\r\n",
        "Connection timed out",
        "VPN",
    ),
    "no common ground": (
        b"Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their "
        b"offer: ssh-rsa\r\n",
        "no matching host key type found. Their offer: ssh-rsa",
        "man ssh_config",
    ),
    "refused by a jump host": (
        b"me@bastion: Permission denied (publickey,password).\nConnection closed by UNKNOWN\n",
        "bastion does not let in me",
        "ssh-copy-id me@bastion",
    ),
    "a jump host's key": (
        b"No ED25519 host key is known for bastion and you have requested strict checking.\n"
        b"Host key verification failed.\nConnection closed by UNKNOWN port 65535\n",
        "the host key of bastion is not known",
        "ssh far true",
    ),
    "a proxy that is not there": (
        b"sh: 1: exec: nc: not found\nConnection closed by UNKNOWN port 65535\n",
        "breaks off: sh: 1: exec: nc: not found",
        "ProxyCommand",
    ),
    "hung up on": (
        b"kex_exchange_identification: Connection closed by remote host\r\n",
        "hangs up before the login",
        "MaxStartups",
    ),
    "anything else": (b"debug1: Hello\nsomething odd\n", "something odd", "ssh far true"),
    "nothing": (b"debug1: Hello\n", "without a word", "ssh far true"),
}


def words(*pieces: bytes) -> SshWords:
    heard = SshWords("far.example")
    for piece in pieces:
        heard.feed(piece)
    return heard


@pytest.mark.parametrize("name", SAYINGS)
def test_a_cause_is_told_with_what_to_do(name: str) -> None:
    said, what, fix = SAYINGS[name]
    cause = words(said).cause("far", "ssh far")
    assert what in cause.what
    assert fix in cause.fix or fix in cause.command


def test_a_login_is_noticed_and_how_it_came_about() -> None:
    line = b'Authenticated to far.example ([192.0.2.1]:22) using "publickey".\r\n'
    assert words(line).login == Login("publickey", "192.0.2.1")
    proxied = b'Authenticated to far.example (via proxy) using "password".\r\n'
    assert words(proxied).login == Login("password")
    shared = b"debug1: mux_client_request_session: master session id: 2\r\n"
    assert words(shared).login == Login("an open master connection")


def test_the_login_at_a_jump_host_is_not_ours() -> None:
    assert words(b'Authenticated to bastion ([192.0.2.9]:22) using "publickey".\n').login is None


def test_a_server_that_talks_without_end_is_kept_within_bounds() -> None:
    heard = words(*(b"line %d\n" % number for number in range(10_000)))
    heard.feed(b"x" * 1_000_000)
    assert heard.last_words() == "line 9999"


@given(
    st.lists(st.binary() | st.sampled_from([said for said, _, _ in SAYINGS.values()])), st.data()
)
def test_whatever_is_said_the_cause_can_be_shown(parts: list[bytes], data: st.DataObject) -> None:
    output = b"".join(parts) + b"\n"
    cut = data.draw(st.integers(0, len(output)))

    cause = words(output[:cut], output[cut:]).cause("far", "ssh far")

    assert cause == words(output).cause("far", "ssh far")
    assert cause.what.isprintable()
    assert cause.fix.isprintable()
    assert cause.command.isprintable()
