"""What the doctor looks at on this side, with no host involved."""

from __future__ import annotations

import os
import shutil
import struct
from typing import Final

import trio

from trioet.bootstrap.ssh_config import SshConfig
from trioet.doctor.finding import Finding, Outcome

AGENT_DEADLINE_S: Final = 3.0

PROGRAM_DEADLINE_S: Final = 5.0

START_AGENT: Final = 'eval "$(ssh-agent)" && ssh-add'

IDENTITIES: Final = struct.pack(">IB", 1, 11)
IDENTITIES_ANSWER: Final = struct.Struct(">IBI")
"""SSH2_AGENTC_REQUEST_IDENTITIES, and its answer: 12, and the number of keys (RFC draft-miller-
ssh-agent, 4.4)."""


async def ssh_program() -> Finding:
    """Which ssh there is."""
    if (path := shutil.which("ssh")) is None:
        return Finding(
            "ssh",
            Outcome.WORTH_KNOWING,
            "no ssh program; trioet connect uses its own, which knows less",
            "install OpenSSH's client, as",
            command="sudo apt-get install openssh-client",
        )
    said = b""
    with trio.move_on_after(PROGRAM_DEADLINE_S):
        done = await trio.run_process([path, "-V"], capture_stderr=True, check=False)
        said = done.stderr
    version = said.decode(errors="replace").partition(",")[0].strip()
    return Finding("ssh", Outcome.WELL, f"{path}, {version}", facts={"version": version})


async def agent(config: SshConfig | None, *, there: bool | None = None) -> Finding:
    """Does an ssh agent answer here, and will a session have it?

    ``config`` is that of the host, if there is one; ``there``: one runs on it.
    """
    path = _socket(config)
    forwards = config is not None and config.forward_agent != "no"
    facts: dict[str, object] = {"socket": path, "forwarded": forwards, "there": there}
    also = "; one runs there" if there else ""
    if not path:
        outcome = Outcome.WORTH_KNOWING if forwards else Outcome.WELL
        what = f"none here{', and ForwardAgent wants one' if forwards else ''}{also}"
        command = START_AGENT if forwards else ""
        return Finding("agent", outcome, what, facts=facts, command=command)
    keys = None
    with trio.move_on_after(AGENT_DEADLINE_S):
        keys = await _count_keys(path)
    facts["keys"] = keys
    if keys is None:
        what = f"{path} does not answer"
        return Finding("agent", Outcome.WORTH_KNOWING, what, facts=facts, command=START_AGENT)
    what = f"{keys} key{'' if keys == 1 else 's'} here"
    if config is not None:
        what += ", forwarded to the session" if forwards else "; -A takes it along"
    return Finding("agent", Outcome.WELL, what + also, facts=facts)


def _socket(config: SshConfig | None) -> str:
    """Where the agent listens that ssh would ask; empty if it would ask none."""
    named = config.identity_agent if config is not None else None
    if named == "none":
        return ""
    if named in (None, "SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK", "")
    return os.path.expanduser(os.path.expandvars(named))


async def _count_keys(path: str) -> int | None:
    try:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(IDENTITIES)
            answer = b""
            while len(answer) < IDENTITIES_ANSWER.size:
                if not (data := await stream.receive_some(4096)):
                    return None
                answer += data
    except (OSError, trio.BrokenResourceError, RuntimeError):
        return None
    _, kind, count = IDENTITIES_ANSWER.unpack_from(answer)
    return int(count) if kind == 12 else None
