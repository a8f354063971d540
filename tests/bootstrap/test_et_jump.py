from __future__ import annotations

import pytest

from trioet.bootstrap.credentials import TRIOET_IS_HERE
from trioet.bootstrap.et_jump import ET_PORT, EtJumphost, expect_at_jumphost
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.spawn import SshTarget
from trioet.errors import PeerError

SESSION = Invitation("abcdefgh12345678", "12345678901234567890123456789012", 2022, True, "0.1.0")
TARGET = SshTarget("bastion")


class Ssh:
    """Brings an answer, and remembers what it was to bring there."""

    def __init__(self, answer: Invitation) -> None:
        self.answer = answer
        self.command = ""
        self.line = b""

    async def visit(self, target: SshTarget, command: str, line: bytes) -> Invitation:
        assert target == TARGET
        self.command, self.line = command, line
        return self.answer


async def test_the_key_goes_by_stdin_and_the_way_by_the_command() -> None:
    ssh = Ssh(SESSION)
    await expect_at_jumphost(ssh.visit, TARGET, SESSION, ("far", 2023), host="192.0.2.1")
    assert ssh.line == f"{SESSION.client_id}/{SESSION.passkey}_{TRIOET_IS_HERE}\n".encode()
    assert '--jump --dsthost="far" --dstport=2023' in ssh.command
    assert SESSION.passkey not in ssh.command


@pytest.mark.parametrize(
    ("told", "asked", "port"), [(None, None, ET_PORT), (60022, None, 60022), (60022, 2023, 2023)]
)
async def test_the_port_is_the_user_s_or_the_jumphost_s_or_et_s(
    told: int | None, asked: int | None, port: int
) -> None:
    ssh = Ssh(SESSION._replace(port=told))
    assert await expect_at_jumphost(
        ssh.visit, TARGET, SESSION, ("far", 2022), host="192.0.2.1", port=asked
    ) == EtJumphost("192.0.2.1", port, is_trioet=True)


async def test_a_real_jumphost_is_known_by_its_silence() -> None:
    real = Invitation(SESSION.client_id, SESSION.passkey)
    jumphost = await expect_at_jumphost(
        Ssh(real).visit, TARGET, SESSION, ("far", 2022), host="192.0.2.1"
    )
    assert not jumphost.is_trioet


async def test_an_answer_for_another_session_is_refused() -> None:
    """A real etterminal makes up a new id where ours begins with XXX."""
    other = SESSION._replace(client_id="XXXX" + SESSION.client_id[4:])
    with pytest.raises(PeerError, match="bastion answered for another session"):
        await expect_at_jumphost(Ssh(other).visit, TARGET, SESSION, ("far", 2022), host="192.0.2.1")
