"""The ssh agent, forwarded: a real one, asked by real programs inside the session."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agents import Agent
from farside import FarSide
from keepers import end_keepers
from ptys import Person
from trioet.demo.cutter import Cutter
from tunnelled import configure, mode, session
from waiting import until

pytestmark = pytest.mark.e2e

CUTS = 5


@asynccontextmanager
async def with_agent(far_side: FarSide, agent: Agent, *arguments: str) -> AsyncIterator[Person]:
    """A session in whose own environment the agent is."""
    env = {"SSH_AUTH_SOCK": str(agent.socket)}
    async with session(far_side, *arguments, env=env) as person:
        yield person


async def place_of(person: Person) -> Path:
    """Where the session's programs find the agent."""
    return Path((await person.run(b"echo $SSH_AUTH_SOCK")).decode().strip())


# Which agent


@pytest.mark.parametrize("option", ["-A", "-f", "-oForwardAgent=yes", "configuration"])
async def test_the_agent_of_the_environment(far_side: FarSide, agent: Agent, option: str) -> None:
    options = [option]
    if option == "configuration":
        configure(far_side, ["ForwardAgent yes"])
        options = []
    async with with_agent(far_side, agent, *options) as person:
        assert agent.fingerprint in await person.run(b"ssh-add -l")


@pytest.mark.parametrize(
    "options",
    [
        ["-A", "--ssh-socket", "{}"],
        ["-A", "-o", "IdentityAgent={}"],
        ["-o", "ForwardAgent={}"],
        ["-A", "-o", "IdentityAgent=$MY_AGENT"],
        ["-o", "ForwardAgent=$MY_AGENT"],
        ["-r", "SSH_AUTH_SOCK:{}"],
    ],
    ids=" ".join,
)
async def test_an_agent_that_is_named(far_side: FarSide, agent: Agent, options: list[str]) -> None:
    named = [option.format(agent.socket) for option in options]
    env = {"MY_AGENT": str(agent.socket), "SSH_AUTH_SOCK": "/nowhere"}
    async with session(far_side, *named, env=env) as person:
        assert agent.fingerprint in await person.run(b"ssh-add -l")


@pytest.mark.parametrize("options", [[], ["-a"], ["-A", "-a"]], ids=str)
async def test_none_unless_it_is_asked_for(
    far_side: FarSide, agent: Agent, options: list[str]
) -> None:
    async with with_agent(far_side, agent, *options) as person:
        assert await place_of(person) == Path()


async def test_no_agent_to_forward_is_said_and_the_session_goes_on(far_side: FarSide) -> None:
    async with session(far_side, "-A") as person:
        await person.until(b"trioet: no ssh agent to forward")
        assert await place_of(person) == Path()


async def test_an_agent_that_has_gone_is_a_refusal_there(far_side: FarSide, agent: Agent) -> None:
    env = {"SSH_AUTH_SOCK": str(agent.socket) + ".gone"}
    async with session(far_side, "-A", env=env) as person:
        # It says why, unless it was still asking when it heard: then SIGPIPE ends it.
        asked = await person.run(b"ssh-add -l >/dev/null 2>&1 || echo refused")
        assert asked == b"refused\r\n"
        assert await person.run(b"echo goes on") == b"goes on\r\n"


# What it is good for


async def test_git_clones_over_ssh_with_the_forwarded_agent_alone(
    far_side: FarSide, agent: Agent, tmp_path: Path
) -> None:
    repository, clone = tmp_path / "origin", tmp_path / "clone"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    script = f"""set -e
        git init -q {repository}
        cd {repository}
        head -c 300000 /dev/urandom >blob
        git add blob
        git -c user.name=n -c user.email=e@example.org commit -qm first"""
    await trio.run_process(["sh", "-c", script], env=env)
    sshd = far_side.sshd
    ssh = "ssh -F none -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=yes"
    ssh += f" -o UserKnownHostsFile={sshd.known_hosts_path}"
    url = f"ssh://127.0.0.1:{sshd.port}{repository}"
    git = f"GIT_SSH_COMMAND={shlex.quote(ssh)} git clone -q {url} {clone}".encode()
    async with with_agent(far_side, agent, "-A") as person:
        assert b"Permission denied" in await person.run(b"SSH_AUTH_SOCK= " + git)
        assert b"fatal" not in await person.run(git)
    assert (clone / "blob").read_bytes() == (repository / "blob").read_bytes()


# Its socket


@pytest.mark.parametrize("end", ["exit", "disconnected", "hung up", "keeper ended"])
async def test_its_socket_is_private_and_goes_with_the_session(
    far_side: FarSide, agent: Agent, runtime_dir: Path, end: str
) -> None:
    async with with_agent(far_side, agent, "-A") as person:
        place = await place_of(person)
        assert place.is_relative_to(runtime_dir)
        assert place.is_socket()
        assert mode(place) == 0o600
        assert mode(place.parent) == 0o700
        match end:
            case "exit":
                await person.type(b"exit\n")
            case "disconnected":
                await person.type(b"\r~.")
            case "hung up":
                person.process.send_signal(signal.SIGHUP)
            case _:
                await trio.to_thread.run_sync(end_keepers, runtime_dir)
        await until(lambda: not place.parent.exists())
    assert agent.socket.is_socket()


async def test_what_somebody_put_beside_it_stays(far_side: FarSide, agent: Agent) -> None:
    async with with_agent(far_side, agent, "-A") as person:
        place = await place_of(person)
        precious = place.with_name("precious")
        await person.run(f"echo mine >{precious}".encode())
        await person.type(b"exit\n")
        await person.end()
    await until(lambda: not place.exists())
    assert precious.read_text() == "mine\n"


async def test_two_sessions_have_two(far_side: FarSide, agent: Agent) -> None:
    async with with_agent(far_side, agent, "-A") as one, with_agent(far_side, agent, "-A") as two:
        first, second = await place_of(one), await place_of(two)
        assert first != second
        await one.type(b"exit\n")
        await one.end()
        await until(lambda: not first.exists())
        assert agent.fingerprint in await two.run(b"ssh-add -l")


async def test_its_path_stays_through_cuts_and_for_shells_that_run_already(
    far_side: FarSide, agent: Agent
) -> None:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        async with with_agent(far_side, agent, "-A", "--via", "direct", "-p", str(near)) as person:
            place = await place_of(person)
            await person.type(b"sh -i\n")
            for number in range(CUTS):
                cutter.cut()
                if number == CUTS // 2:
                    far_side.stop_router(signal.SIGKILL)
                    far_side.start_router(port)
                assert agent.fingerprint in await person.run(b"ssh-add -l")
                assert await place_of(person) == place
            assert cutter.cuts == CUTS
        nursery.cancel_scope.cancel()


async def test_a_terminal_multiplexer_keeps_the_agent_of_its_session(
    far_side: FarSide, agent: Agent, runtime_dir: Path
) -> None:
    async with with_agent(far_side, agent, "-A") as person:
        socket = runtime_dir / "tmux"
        shown = runtime_dir / "shown"
        asks = f"ssh-add -l >{shown}.new; mv {shown}.new {shown}"
        await person.run(f"tmux -f /dev/null -S {socket} new -d '{asks}'".encode())
        await until(shown.exists)
        assert agent.fingerprint in shown.read_bytes()
